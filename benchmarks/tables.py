"""Tables of measurements for the terminal."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table


def new_table(columns: Iterable[str], names: int = 1, **style: Any) -> Table:
    """An empty table, whose first `names` columns hold names and whose others hold numbers."""
    table = Table(**style)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < names else "right")
    return table
