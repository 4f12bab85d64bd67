"""python -m algorithms.new NAME: a new objective from a template that trains at once, as code and as yaml."""

import re
import sys
from pathlib import Path

from conf.entry import run_main
from conf.scaffold import Scaffold

# distinguishable with colour blindness
COLORS = ("#56B4E9", "#EE7733", "#009988", "#CC3311", "#EE3377", "#4477AA", "#AA3377")
LINESTYLES = ("-", "--", ":", "-.")


def unused_style(files: list[Path]) -> dict[str, str]:
    """A colour and a line that no yaml file has."""
    pattern = re.compile(r'^color: "?(\S+?)"?\nlinestyle: "?(\S+?)"?$', re.MULTILINE)
    taken = {found.groups() for path in files if (found := pattern.search(path.read_text()))}
    free = [(color, line) for line in LINESTYLES for color in COLORS if (color, line) not in taken]
    color, line = free[0] if free else (COLORS[0], LINESTYLES[0])
    return {"template_color": color, "template_line": line}


SCAFFOLD = Scaffold("algo", "algorithms", {"objective": ""}, extra=unused_style)

if __name__ == "__main__":
    sys.exit(run_main(SCAFFOLD.main))
