"""The paper's numbers: ours beside theirs, cell by cell, with a verdict."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from analysis import tables
from analysis.labels import ALGOS, MATCHINGS, matchings
from analysis.load import Row
from analysis.measures import Arrival, Measure
from analysis.paper import TABLES, PaperTable, read_yaml, stated

HEADS = {"algo": "method", "match": "matched by"}
SYMBOLS = {"vocab": "V ", "horizon": "H ", "eta": "eta ", "candidates": "K ", "epochs": "epochs "}
REPRODUCED, DIRECTION, DIFFERS, FEW, NOT_RUN = "reproduced", "direction only", "differs", "few seeds", "not run"
ENOUGH = 10  # seeds: of fewer, those that fail to learn, one in ten say, are too easily missed


def compare(name: str, rows: list[Row], shorter: Sequence[Row] = ()) -> pd.DataFrame:
    """One line per cell: its keys, ours with 95 % intervals and seeds, the paper's value, both as text, and a verdict.

    `rows`: all that the table's sweeps ask for, run or not; ours is empty where only the paper has a cell. `shorter`:
    runs of fewer steps, of which only an arrival counts, and only where nothing else was run.
    """
    table, (paper, seeds, source) = TABLES[name], stated(name)
    cells = {
        cell: _ours(measure, row, seeds.get(cell, row.seeds))
        for row in rows
        for cell, measure in _cells(table, row.config)
        if row.seeds == 0 or row.has(measure.metric)
    }
    for row in shorter:
        for cell, measure in _cells(table, row.config):
            if isinstance(measure, Arrival) and row.has(measure.metric) and not cells[cell]["n"]:
                found = _ours(measure, row, seeds.get(cell, row.seeds))
                cells[cell] = found if np.isfinite(found["ours"]) else cells[cell]
    lines = [
        dict(zip(table.keys, cell, strict=True))
        | cells.get(cell, {"shown": "", "n": 0})
        | {"paper": _infinite(paper.get(cell, np.nan)), "paper_shown": _paper_text(table, cell, paper)}
        for cell in sorted(dict.fromkeys([*cells, *paper]), key=_matching)
    ]
    frame = pd.DataFrame(lines).assign(source=source)
    return frame.assign(verdict=[_verdict(table, line, frame) for _, line in frame.iterrows()])


def pivot(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The paper's form: cells of text, the last key across."""
    found = grid(name, frame)
    lines = [[*names, *map(_text, cells)] for names, cells in found["lines"]]
    return pd.DataFrame(lines, columns=found["heads"])


def grid(name: str, frame: pd.DataFrame) -> dict[str, Any]:
    """A table in the paper's form: heads, and lines of names and cells {shown, paper_shown, verdict} or None."""
    *down, across = TABLES[name].keys
    columns = list(dict.fromkeys(_title(across, value) for value in frame[across]))
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
    return f"{TABLES[name].title}: ours [95 % interval] with n seeds, and the paper's.\n\n{tables.markdown(wide)}\n"


def _text(cell: pd.Series | None) -> str:
    """Ours, and the paper's after a bar."""
    if cell is None:
        return ""
    return " | ".join(text for text in (cell.shown, cell.paper_shown and f"paper {cell.paper_shown}") if text)


def _ours(measure: Measure, row: Row, seeds: int) -> dict[str, Any]:
    if not row.seeds:
        return {"shown": NOT_RUN, "n": 0}
    steps, values = row.errors() if measure.metric == "error" else row.metric(measure.metric)
    value, (low, high) = measure.value(steps, values), measure.interval(steps, values)
    predicted_low, predicted_high = measure.predicted(steps, values, seeds)
    text = measure.text(value)
    if np.isfinite(low):
        end = f">{steps[-1]}" if np.isinf(high) else measure.text(high)
        text += f" [{measure.text(low)}, {end}]"
    found = {"ours": value, "low": low, "high": high, "n": values.shape[1], "shown": f"{text} n={values.shape[1]}"}
    return found | {"predicted_low": predicted_low, "predicted_high": predicted_high, "run": row.run.path.name}


def _verdict(table: PaperTable, line: pd.Series, frame: pd.DataFrame) -> str:
    """reproduced: the paper's value lies where as many new seeds as the paper's should, given ours; "-" is infinite.

    direction only: it does not, but the methods of the cell are in the paper's order. Empty: the paper has no number.
    """
    if line.paper_shown == "":
        return ""
    if line.n < ENOUGH:
        return FEW if line.n else NOT_RUN
    hopeless = getattr(_measure(table, line), "hopeless", np.inf)

    def capped(value: float) -> float:
        return np.inf if value > hopeless else value

    ours, low, high = map(capped, (line.ours, line.predicted_low, line.predicted_high))
    if low <= line.paper <= high or ours == line.paper:
        return REPRODUCED
    axis = "algo" if frame.algo.nunique() > 1 else table.keys[-1]
    same = np.logical_and.reduce([frame[key] == line[key] for key in table.keys if key != axis])
    others = frame[same & (frame.n > 0) & (frame.paper_shown != "") & (frame.paper != line.paper)]
    pairs = [(capped(other.ours), other.paper) for other in others.itertuples()]
    agree = [ours != theirs and (ours < theirs) == (line.paper < paper) for theirs, paper in pairs]
    return DIRECTION if agree and all(agree) else DIFFERS


def _measure(table: PaperTable, line: pd.Series) -> Measure:
    return table.measures[line["measure"]] if "measure" in table.keys else next(iter(table.measures.values()))


def _infinite(value: float | None) -> float:
    return np.inf if value is None else value


def _paper_text(table: PaperTable, cell: tuple, paper: dict[tuple, float | None]) -> str:
    if cell not in paper:
        return ""
    return _measure(table, pd.Series(dict(zip(table.keys, cell, strict=True)))).text(paper[cell])


def _cells(table: PaperTable, config: dict[str, Any]) -> Iterator[tuple[tuple, Measure]]:
    """The cells that a run fills: two where it is the same run under both matchings, one per measure."""
    for match in matchings(config) if "match" in table.keys else (config["match"],):
        for name, measure in table.measures.items():
            named = config["algo"] | config["env"] | {"algo": config["algo"]["name"], "match": match, "measure": name}
            named["epochs"] = config["train"]["epochs"] or "own"
            yield tuple(named[key] for key in table.keys), measure


def _matching(cell: tuple) -> int:
    """Prompt-matched cells come first."""
    return next((order for order, match in enumerate(MATCHINGS) if match in cell), 0)


def _title(key: str, value: Any) -> str:
    if key == "algo":
        return read_yaml(ALGOS / f"{value}.yaml")["label"]
    return SYMBOLS.get(key, "") + str(value).replace("_", " ")
