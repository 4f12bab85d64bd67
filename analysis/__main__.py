"""python -m analysis list | all | FIGURE ... | TABLE ... | table ENV | samples RUN | report | leaderboard"""

import sys

from conf.entry import run

if __name__ == "__main__":
    sys.exit(run("analysis.command"))
