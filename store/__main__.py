"""python -m store export | import: export runs into a compact archive, or import runs from it"""

import sys

from conf.entry import run

if __name__ == "__main__":
    sys.exit(run("store.command"))
