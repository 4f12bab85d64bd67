"""The numbers of the paper, and the runs and measures of ours that answer to each."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analysis.measures import Mean, Measure, StepsTo
from store.runs import LOADER

PAPER = Path(__file__).resolve().parent.parent / "reference" / "paper.yaml"


@dataclass(frozen=True)
class PaperTable:
    """`figure`: whose runs it shows; `keys`: what names a cell, the last of them across.

    A key is a setting of the environment or the algorithm, "algo", "match", "epochs", or "measure", one of `measures`.
    """

    figure: str
    title: str
    keys: tuple[str, ...]
    measures: dict[str, Measure]

    def measure(self, names: Mapping[str, Any]) -> Measure:
        """The measure of a cell, given its keys by name."""
        return self.measures[names["measure"]] if "measure" in self.keys else next(iter(self.measures.values()))

    def groups(self, cells: pd.DataFrame, keys: Container[str]) -> list[pd.DataFrame]:
        """The cells in groups within which only these keys differ."""
        others = [key for key in self.keys if key not in keys]
        return [group for _, group in cells.groupby(others)] if others else [cells]


EPISODES, FINAL = "episodes to 1 % error", "final error in %"
EPISODES_TO, PERCENT = {EPISODES: StepsTo()}, {FINAL: Mean(scale=100, decimals=1)}
FINER = {FINAL: Mean(scale=100, decimals=2)}
TABLES = {
    "table1": PaperTable("fig05", f"Table 1: dense reward, {EPISODES}", ("algo", "vocab"), EPISODES_TO),
    "table2": PaperTable(
        "fig06", f"Table 2: task variations, {EPISODES}", ("match", "reward", "target", "algo"), EPISODES_TO
    ),
    "table3": PaperTable(
        "fig07",
        "Table 3: terminal reward, final exact-match error in %",
        ("match", "algo", "horizon"),
        {FINAL: Mean(scale=100, decimals=1, hopeless=95)},
    ),
    "table5": PaperTable("fig16", "Table 5: temperature eta", ("measure", "algo", "eta"), EPISODES_TO | PERCENT),
    "fig02_numbers": PaperTable(
        "fig02", "Figure 2: error", ("algo", "measure"), {f"after {n} steps": Mean(at=n) for n in (50, 100, 150)}
    ),
    "fig03_numbers": PaperTable("fig03", "Figure 3: error", ("algo", "measure"), {"after 1000 steps": Mean(at=1000)}),
    "fig04_numbers": PaperTable(
        "fig04",
        "Figure 4: MNIST",
        ("algo", "measure"),
        {f"test error in % after {n} steps": Mean(at=n, scale=100, decimals=2) for n in (1600, 2000, 2200, 5000, 10000)}
        | {"steps to 5 %": StepsTo(0.05), "surplus in the top bin": Mean(2000, "surplus_4", decimals=3)},
    ),
    "fig08_numbers": PaperTable("fig08", f"Figure 8: ablations, {FINAL}", ("algo", "horizon"), PERCENT),
    "fig10_numbers": PaperTable(
        "fig10",
        "Figure 10: what an update pulls at",
        ("algo", "measure"),
        {"gradient norm at the end": Mean(metric="grad_norm")},
    ),
    "fig11_numbers": PaperTable(
        "fig11",
        "Figure 11: where there is a signal",
        ("algo", "measure"),
        {"share of all-fail groups, mean over the run": Mean(metric="all_fail_share", whole=True)},
    ),
    "fig12_numbers": PaperTable("fig12", f"Figure 12: group size, {FINAL}", ("algo", "candidates"), FINER),
    "fig13_numbers": PaperTable("fig13", "Figure 13: masking", ("algo", "measure"), FINER),
    "fig14_numbers": PaperTable(
        "fig14",
        "Figure 14: epochs",
        ("algo", "epochs", "measure"),
        {"error in % after 400 episodes": Mean(at=400, scale=100, decimals=1)},
    ),
    "fig15_numbers": PaperTable("fig15", f"Figure 15: gradient epochs, {FINAL}", ("algo", "epochs"), FINER),
    "fig17_numbers": PaperTable(
        "fig17", f"Figure 17: DG by epochs, {FINAL}", ("reward", "target", "algo", "epochs"), FINER
    ),
}


def counts_shorter_runs(figure: str) -> bool:
    """Whether a table of a figure has a number of steps to a threshold, which runs of fewer steps can tell as well."""
    measures = [measure for table in TABLES.values() if table.figure == figure for measure in table.measures.values()]
    return any(isinstance(measure, StepsTo) for measure in measures)


@cache
def read_yaml(path: Path) -> dict[str, Any]:
    """The content of a file, which is read once."""
    return yaml.load(path.read_text(), LOADER)


def notes(name: str) -> list[str]:
    """A note on the paper's numbers for readers of a table."""
    return read_yaml(PAPER)[name].get("notes", [])


def paper_values(name: str) -> tuple[dict[tuple, float | None], dict[tuple, int], str]:
    """The paper's value (null: its "-") and number of seeds of each cell of a table, and where they are from."""
    about = read_yaml(PAPER)[name]
    values, seeds = dict(_nested(TABLES[name], about["values"])), about["seeds"]
    # one number for all, or one for each value of the first key
    counts = {cell: seeds[cell[0]] if isinstance(seeds, dict) else seeds for cell in values}
    return values, counts, about["source"]


def _nested(table: PaperTable, values: dict) -> Iterator[tuple[tuple, float | None]]:
    """(cell, value) of values that nest by the table's keys, with the algorithm innermost."""
    nested = [key for key in table.keys if key != "algo"] + ["algo"]

    def walk(node: Any, path: tuple) -> Iterator[tuple[tuple, float | None]]:
        if not isinstance(node, dict):
            yield tuple(path[nested.index(key)] for key in table.keys), node
            return
        for key, below in node.items():
            yield from walk(below, (*path, key))

    return walk(values, ())
