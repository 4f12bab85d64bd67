"""How much of each figure and table is trained, and how long the rest will take."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd
from rich.table import Table

from analysis import catalogue, cost, tables
from analysis.load import Row
from analysis.paper import TABLES
from analysis.verdicts import ENOUGH
from store.identity import run_id
from store.results import Results


@dataclass(frozen=True)
class Cell:
    """One configuration: the sweeps that ask for it, the seeds that are wanted, are done, and were done before."""

    row: Row
    sweeps: frozenset[str]
    wanted: frozenset[int]
    done: frozenset[int]
    before: frozenset[int]

    @property
    def left(self) -> int:
        return len(self.wanted - self.done)


def cells(wanted: Iterable[tuple[Row, tuple[int, ...], str]], store: Results) -> dict[str, Cell]:
    """{run id: cell} as the store is now, of rows with the seeds that are wanted and the sweep that wants them.

    Where a configuration is wanted more than once, all its seeds count.
    """
    found: dict[str, Cell] = {}
    for row, seeds, sweep in wanted:
        key = run_id(row.config)
        if key not in found:
            done = frozenset(store.seeds_done_now(row.config))
            found[key] = Cell(row, frozenset(), frozenset(), done, done)
        cell = found[key]
        found[key] = replace(cell, sweeps=cell.sweeps | {sweep}, wanted=cell.wanted | frozenset(seeds))
    return found


def by_figure(found: Iterable[Cell]) -> dict[str, list[Cell]]:
    """{figure with its tables: the cells that it shows}; what no figure shows stands under its sweep."""
    groups: dict[str, list[Cell]] = {}
    shown = {figure: set(catalogue.sweeps(figure)) for figure in catalogue.figures()}
    for cell in found:
        names = [_title(figure) for figure, sweeps in shown.items() if sweeps & cell.sweeps]
        for name in names or [" ".join(sorted(cell.sweeps))]:
            groups.setdefault(name, []).append(cell)
    return dict(sorted(groups.items()))


def summarise(groups: dict[str, list[Cell]], speeds: cost.Speeds, workers: int) -> pd.DataFrame:
    """A line for each group: cells with ten seeds, cells with all, seeds, and hours left with this many workers.

    The last line counts each cell once, though several figures may show it.
    """
    lines = []
    total = {id(cell): cell for group in groups.values() for cell in group}
    for name, group in (*groups.items(), ("all", list(total.values()))):
        seconds = [cost.of_seeds(cell.row.config, cell.left, speeds) for cell in group]
        known = [value for value in seconds if value is not None]
        lines.append(
            {
                "figure": name,
                "cells": len(group),
                "ten": sum(len(cell.wanted & cell.done) >= min(ENOUGH, len(cell.wanted)) for cell in group),
                "all": sum(cell.left == 0 for cell in group),
                "seeds": sum(len(cell.wanted & cell.done) for cell in group),
                "wanted": sum(len(cell.wanted) for cell in group),
                "new": sum(len(cell.wanted & cell.done - cell.before) for cell in group),
                "hours": sum(known) / 3600 / workers,
                "unknown": len(seconds) - len(known),
            }
        )
    return pd.DataFrame(lines)


def render(frame: pd.DataFrame, title: str) -> Table:
    """A terminal table of `summarise`."""
    shown = pd.DataFrame({"figure": frame.figure})
    shown[f"cells with {ENOUGH} seeds or all"] = [f"{line.ten} of {line.cells}" for line in frame.itertuples()]
    shown["cells done"] = [f"{line.all} of {line.cells}" for line in frame.itertuples()]
    shown["seeds done"] = [f"{line.seeds} of {line.wanted}" for line in frame.itertuples()]
    if frame.new.any():
        shown["seeds new"] = frame.new.astype(str)
    shown["hours left"] = [_hours(line) for line in frame.itertuples()]
    return tables.terminal(title, shown)


def _hours(line) -> str:
    more = f" + {line.unknown} unknown" if line.unknown else ""
    return f"{line.hours:.1f}{more}"


def _title(figure: str) -> str:
    names = [name for name, table in TABLES.items() if table.figure == figure and name.startswith("table")]
    return ", ".join([figure, *names])
