"""Train one configuration, or a grid of them: python run.py algo=tpo env=sparse_bandit"""

import sys

from conf.entry import run

if __name__ == "__main__":
    sys.exit(run("launch.command"))
