"""The paper's tables: ours beside theirs, cell by cell."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from rich.table import Table

from analysis import stats
from analysis.labels import ALGOS, MATCHINGS, matchings
from analysis.load import Row

PAPER = Path(__file__).resolve().parent.parent / "reference" / "paper.yaml"
HOPELESS = 95  # % error above which the paper's table 3 prints "-"
HEADS = {"algo": "method", "match": "matched by"}
Value = tuple[float, float, float]  # ours, low, high; infinite: never, or hopeless


@dataclass(frozen=True)
class PaperTable:
    """`figure`: whose runs it shows; `keys`: what names a cell, the last of them across."""

    figure: str
    title: str
    keys: tuple[str, ...]
    measure: Callable[[np.ndarray, np.ndarray], Value]
    decimals: int = 0


def episodes_to_one_percent(steps: np.ndarray, errors: np.ndarray) -> Value:
    return stats.arrival(steps, errors, 0.01)


def final_percent(steps: np.ndarray, errors: np.ndarray) -> Value:
    final = 100 * errors[-1]
    low, high = stats.interval(final)
    return float(final.mean()) if len(final) else np.nan, float(low), float(high)


ARRIVAL, FINAL = "episodes to 1 % error", "final exact-match error in %"
TABLES = {
    "table1": PaperTable("fig05", f"Table 1: dense reward, {ARRIVAL}", ("algo", "vocab"), episodes_to_one_percent),
    "table2": PaperTable(
        "fig06",
        f"Table 2: task variations, {ARRIVAL}",
        ("match", "reward", "target", "algo"),
        episodes_to_one_percent,
    ),
    "table3": PaperTable(
        "fig07", f"Table 3: terminal reward, {FINAL}", ("match", "algo", "horizon"), final_percent, decimals=1
    ),
    "table5": PaperTable("fig16", f"Table 5: eta, {ARRIVAL}", ("algo", "eta"), episodes_to_one_percent),
    "table5_final": PaperTable("fig16", "Table 5: eta, final error in %", ("algo", "eta"), final_percent, decimals=1),
}


def compare(name: str, rows: list[Row]) -> pd.DataFrame:
    """One line per cell: its keys, ours with a 95 % interval and seeds, the paper's value, and both as text.

    `rows`: all that the table's sweeps ask for, run or not; ours is empty where only the paper has a cell.
    """
    table, paper = TABLES[name], dict(_paper(name))
    cells = {key: _ours(table, row) for row in rows for key in _cells(table, row.config)}
    lines = [
        dict(zip(table.keys, key, strict=True))
        | cells.get(key, {"shown": ""})
        | {"paper": paper.get(key, np.nan), "paper_shown": _paper_text(paper[key], table) if key in paper else ""}
        for key in sorted(dict.fromkeys([*cells, *paper]), key=_matching)
    ]
    return pd.DataFrame(lines).assign(source=yaml.safe_load(PAPER.read_text())[name]["source"])


def pivot(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The paper's form: cells of text, the last key across."""
    *down, across = TABLES[name].keys
    texts = frame.shown + np.where(frame.paper_shown == "", "", " | paper " + frame.paper_shown)
    named = pd.DataFrame({key: [_title(key, value) for value in frame[key]] for key in (*down, across)})
    wide = named.assign(text=texts.str.removeprefix(" | ")).set_index([*down, across]).text.unstack(sort=False)
    return wide.fillna("").reset_index().rename(columns=HEADS).rename_axis(columns=None)


def render(name: str, frame: pd.DataFrame) -> Table:
    """A terminal table of `pivot`."""
    wide = pivot(name, frame)
    table = Table(title=f"{TABLES[name].title}: ours [95 %] n | paper", title_justify="left", show_lines=True)
    for column in wide:
        table.add_column(str(column))
    for line in wide.itertuples(index=False):
        table.add_row(*(text.replace(" | ", "\n") for text in line))
    return table


def markdown(name: str, frame: pd.DataFrame) -> str:
    """The same for a document."""
    wide = pivot(name, frame)
    lines = [list(wide), ["---"] * len(wide.columns), *wide.values.tolist()]
    body = "\n".join("| " + " | ".join(text.replace(" | ", "<br>") for text in line) + " |" for line in lines)
    return f"{TABLES[name].title}: ours [95 % interval] with n seeds, and the paper's.\n\n{body}\n"


def _ours(table: PaperTable, row: Row) -> dict[str, Any]:
    if not row.seeds:
        return {"shown": "not run", "n": 0}
    steps, errors = row.finite("error")
    value, low, high = table.measure(steps, errors)
    text = _number(value, table)
    if np.isfinite(low):
        end = f">{steps[-1]}" if np.isinf(high) else f"{high:.{table.decimals}f}"
        text += f" [{low:.{table.decimals}f}, {end}]"
    return {"ours": value, "low": low, "high": high, "n": errors.shape[1], "shown": f"{text} n={errors.shape[1]}"}


def _number(value: float, table: PaperTable) -> str:
    hopeless = table.measure is final_percent and value > HOPELESS
    return "-" if hopeless or not np.isfinite(value) else f"{value:.{table.decimals}f}"


def _paper_text(value: float | None, table: PaperTable) -> str:
    return "-" if value is None else f"{value:.{table.decimals}f}"


def _cells(table: PaperTable, config: dict[str, Any]) -> Iterator[tuple]:
    """The cells that a run fills: two where it is the same run under both matchings."""
    for match in matchings(config) if "match" in table.keys else (config["match"],):
        named = config["algo"] | config["env"] | {"algo": config["algo"]["name"], "match": match}
        yield tuple(named[key] for key in table.keys)


def _paper(name: str) -> Iterator[tuple[tuple, float | None]]:
    """(cell, value) of reference/paper.yaml, which nests its values with the algorithm innermost."""
    table = TABLES[name]
    nested = [key for key in table.keys if key != "algo"] + ["algo"]

    def walk(node: Any, path: tuple) -> Iterator[tuple[tuple, float | None]]:
        if not isinstance(node, dict):
            yield tuple(path[nested.index(key)] for key in table.keys), node
            return
        for key, below in node.items():
            yield from walk(below, (*path, key))

    return walk(yaml.safe_load(PAPER.read_text())[name]["values"], ())


def _matching(key: tuple) -> int:
    """Prompt-matched cells come first."""
    return next((order for order, match in enumerate(MATCHINGS) if match in key), 0)


def _title(key: str, value: Any) -> str:
    if key == "algo":
        return yaml.safe_load((ALGOS / f"{value}.yaml").read_text())["label"]
    symbol = {"vocab": "V ", "horizon": "H ", "eta": "eta "}.get(key, "")
    return symbol + str(value).replace("_", " ")
