"""python -m envs.new NAME [--kind bandit|tokens|text]: a new task from a template that trains at once."""

import sys

from conf.entry import run_main
from conf.scaffold import Scaffold

SCAFFOLD = Scaffold("env", "envs", {"bandit": "", "tokens": "", "text": ""})

if __name__ == "__main__":
    sys.exit(run_main(SCAFFOLD.main))
