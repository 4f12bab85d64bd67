"""Tables of measurements for the terminal, and the choice of their rows."""

import argparse
from collections.abc import Collection, Iterable
from typing import Any

from rich.table import Table


def new_table(columns: Iterable[str], names: int = 1, **style: Any) -> Table:
    """An empty table, whose first `names` columns hold names and whose others hold numbers."""
    table = Table(**style)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < names else "right")
    return table


def names_with(text: str, names: Collection[str], parser: argparse.ArgumentParser) -> list[str]:
    """The names that contain a text; ends the command if there are none."""
    found = [name for name in names if text in name]
    if not found:
        parser.error(f"--case {text!r} is in no name; there are: {', '.join(names)}")
    return found
