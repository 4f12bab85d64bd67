"""Which runs of ours fill the cells of a table of the paper."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from analysis.labels import matchings
from analysis.load import Row
from analysis.measured import Measured
from analysis.measures import Measure, StepsTo
from analysis.paper import PaperTable

Filled = dict[tuple, Measured | None]  # by cell that a sweep asks for; None: not run


def fill(table: PaperTable, rows: Sequence[Row], shorter: Sequence[Row], seeds: dict[tuple, int]) -> Filled:
    """Our result for each cell, named by its keys. `seeds`: those of the paper, for the cells that it has."""
    filled: Filled = {}
    for row in rows:
        if row.seeds:
            filled |= _measured(table, row, seeds)
        else:
            filled |= {key: filled.get(key) for key, _ in _cells(table, row.config)}
    for row in shorter:
        for key, one in _measured(table, row, seeds).items():
            if isinstance(one.measure, StepsTo) and filled.get(key) is None and np.isfinite(one.value):
                filled[key] = one
    return _two_valued(filled)


def _measured(table: PaperTable, row: Row, seeds: dict[tuple, int]) -> dict[tuple, Measured]:
    """The result of a row with runs for each cell that it fills. A run that ends before a measure fills none."""
    cells = [
        (key, measure)
        for key, measure in _cells(table, row.config)
        if row.has(measure.metric) and measure.is_reached(row.config["train"]["steps"])
    ]
    metrics = {measure.metric for _, measure in cells}
    records = {metric: row.errors() if metric == "error" else row.metric(metric) for metric in metrics}
    where = {"env": row.config["env"]["name"], "run": row.run.path.name}
    return {
        key: Measured(measure, *records[measure.metric], seeds.get(key, row.seeds), **where) for key, measure in cells
    }


def _two_valued(filled: Filled) -> Filled:
    """The same, told what all runs of an environment show: whether seeds either learn or do not."""
    envs = {one.env for one in filled.values() if one and one.outcomes and one.outcomes.are_two_valued}
    return {key: one and replace(one, two_valued=one.env in envs) for key, one in filled.items()}


def _cells(table: PaperTable, config: dict[str, Any]) -> Iterator[tuple[tuple, Measure]]:
    """The cells that a run fills: two where it is the same run under both matchings, one per measure."""
    for match in matchings(config) if "match" in table.keys else (config["match"],):
        for name, measure in table.measures.items():
            named = config["algo"] | config["env"] | {"algo": config["algo"]["name"], "match": match, "measure": name}
            named["epochs"] = config["train"]["epochs"] or "own"
            yield tuple(named[key] for key in table.keys), measure
