"""python -m docs: the pages that are made from the code, and a learning curve for each method from its runs."""

import sys

from conf.entry import run

if __name__ == "__main__":
    sys.exit(run("docs.command"))
