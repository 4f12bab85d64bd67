"""The paper's numbers: ours beside theirs, cell by cell, with a verdict."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from rich.table import Table

from analysis import paper_cells, tables
from analysis.labels import MATCHINGS, algo_yaml
from analysis.load import Row
from analysis.measured import Measured, stated_text
from analysis.paper import TABLES, PaperTable, notes, paper_values
from analysis.verdicts import NOT_RUN, TOO_WIDE, Cell, describe_verdict, seeds_needed, verdict

HEADS = {"algo": "method", "match": "matched by"}
SYMBOLS = {"vocab": "V ", "horizon": "H ", "eta": "eta ", "candidates": "K ", "epochs": "epochs "}


def compare(name: str, rows: list[Row], shorter: Sequence[Row] = ()) -> pd.DataFrame:
    """One line per cell: its keys, ours with 95 % intervals and seeds, the paper's value, both as text, and a verdict.

    `rows`: all that the table's sweeps ask for, run or not. `shorter`: runs of fewer steps, of which only the steps to
    a threshold count, and only where nothing else was run.
    """
    table, (paper, seeds, source) = TABLES[name], paper_values(name)
    filled = paper_cells.fill(table, rows, shorter, seeds)
    keys = sorted(dict.fromkeys([*filled, *paper]), key=_matching_rank)
    numbers = {key: _number(table, key, filled.get(key), paper.get(key, np.nan)) for key in keys}
    lines = [
        dict(zip(table.keys, key, strict=True))
        | _ours(filled.get(key))
        | _judged(numbers[key], [numbers[rival] for rival in _rivals(table, key, keys)], filled.get(key))
        for key in keys
    ]
    return pd.DataFrame(lines).assign(source=source)


def pivot(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The paper's form: cells of text, the last key across."""
    found = grid(name, frame)
    lines = [[*names, *map(_text, cells)] for names, cells in found["lines"]]
    return pd.DataFrame(lines, columns=found["heads"])


def grid(name: str, frame: pd.DataFrame) -> dict[str, Any]:
    """A table in the paper's form: heads, and lines of names and cells {shown, paper_shown, verdict} or None."""
    *down, across = TABLES[name].keys
    values = frame[across].drop_duplicates()
    columns = [_title(across, value) for value in (values.sort_values() if is_numeric_dtype(values) else values)]
    lines: dict[tuple, dict[str, Any]] = {}
    for _, cell in frame.iterrows():
        lines.setdefault(tuple(_title(key, cell[key]) for key in down), {})[_title(across, cell[across])] = cell
    listed = [(names, [cells.get(column) for column in columns]) for names, cells in lines.items()]
    return {"heads": [*(HEADS.get(key, key) for key in down), *columns], "lines": listed}


def render(name: str, frame: pd.DataFrame) -> Table:
    """A terminal table of `pivot`."""
    wide = pivot(name, frame).map(lambda text: text.replace(" | ", "\n"))
    return tables.terminal(f"{TABLES[name].title}: ours [95 %] n | paper", wide, lines=True, names=len(wide.columns))


def markdown(name: str, frame: pd.DataFrame) -> str:
    """The same for a document."""
    wide = pivot(name, frame).map(lambda text: text.replace(" | ", "<br>"))
    title = f"{TABLES[name].title}: ours [95 % interval] with n seeds, and the paper's."
    return "\n\n".join([title, tables.markdown(wide), *(f"Note: {note}" for note in notes(name))]) + "\n"


def _text(cell: pd.Series | None) -> str:
    """Ours, and the paper's after a bar."""
    if cell is None:
        return ""
    return " | ".join(text for text in (cell.shown, cell.paper_shown and f"paper {cell.paper_shown}") if text)


def _number(table: PaperTable, key: tuple, one: Measured | None, paper: float | None) -> Cell:
    measure = table.measure(dict(zip(table.keys, key, strict=True)))
    cell = Cell(measure, np.inf if paper is None else paper)
    if one is None:
        return cell
    low, high = one.predicted()
    return replace(cell, n=one.n, ours=one.value, low=low, high=high)


def _ours(one: Measured | None) -> dict[str, Any]:
    if one is None:
        return {"shown": NOT_RUN, "n": 0}
    low, high = one.interval
    return {"ours": one.value, "low": low, "high": high, "n": one.n, "shown": one.text, "run": one.run}


def _judged(cell: Cell, rivals: list[Cell], one: Measured | None) -> dict[str, Any]:
    """The paper's value and the verdict, both also as text, and where the value should be, given ours."""
    judged, text, needed = verdict(cell, rivals), "", np.nan
    if not np.isnan(cell.paper):
        text = one.paper_text(cell.paper) if one else stated_text(cell.paper)
    if judged == TOO_WIDE:
        needed = seeds_needed(cell, one.predicted)
    found = {"paper": cell.paper, "paper_shown": text, "predicted_low": cell.low, "predicted_high": cell.high}
    return found | {"verdict": judged, "verdict_shown": describe_verdict(judged, cell, needed), "needed": needed}


def _rivals(table: PaperTable, key: tuple, keys: list[tuple]) -> list[tuple]:
    """The cells that differ in the method alone; of a table of one method, in its last key alone."""
    place = table.keys.index("algo")
    if len({other[place] for other in keys}) == 1:
        place = len(table.keys) - 1
    return [other for other in keys if other != key and _without(other, place) == _without(key, place)]


def _without(key: tuple, place: int) -> tuple:
    return key[:place] + key[place + 1 :]


def _matching_rank(cell: tuple) -> int:
    """Prompt-matched cells come first."""
    return next((order for order, match in enumerate(MATCHINGS) if match in cell), 0)


def _title(key: str, value: Any) -> str:
    if key == "algo":
        return algo_yaml(value)["label"]
    return SYMBOLS.get(key, "") + str(value).replace("_", " ")
