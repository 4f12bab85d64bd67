"""python -m docs: the pages that are made from the code, and a learning curve for each method from its runs."""

import argparse
from pathlib import Path

from docs import curves, graders, sections, settings

FOLDER = Path(__file__).resolve().parent


def main() -> int:
    description = "Write the pages that are made from the code, and a learning curve for each method from its runs."
    argparse.ArgumentParser("python -m docs", description=description).parse_args()
    drawn, missing = curves.draw_all(FOLDER / "algorithms")
    (FOLDER / "algorithms.md").write_text(sections.text())
    (FOLDER / "settings.md").write_text(settings.text())
    page = FOLDER / "graders.md"
    page.write_text(graders.with_table(page.read_text()))
    print(f"docs/algorithms.md, docs/settings.md and {drawn} learning curves")
    if missing:
        print(f"without runs: {', '.join(missing)}")
        print("run: " + " && ".join(curves.COMMANDS))
    return 0
