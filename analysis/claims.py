"""The paper's sentences, judged on our numbers."""

from dataclasses import dataclass

import pandas as pd

from analysis.paper import PAPER, TABLES, read_yaml
from analysis.verdicts import NOT_RUN

OPEN = "undecided (intervals overlap)"
CLAIMS = PAPER.with_name("claims.yaml")


@dataclass(frozen=True)
class Claim:
    """A sentence, and the groups of cells in which it holds, was tried, is open (95 % intervals overlap), and all."""

    text: str
    held: int
    tried: int
    open: int
    cases: int

    @property
    def verdict(self) -> str:
        if not self.tried:
            return NOT_RUN
        return self._found + (f"; {self.cases - self.tried} not run" if self.tried < self.cases else "")

    @property
    def _found(self) -> str:
        if self.tried == 1:
            return "holds" if self.held else OPEN if self.open else "does not hold"
        if self.held == self.tried:
            return f"holds in all {self.tried} cases"
        return f"holds in {self.held} of {self.tried} cases" + (f", {self.open} {OPEN}" if self.open else "")


def claims(figure: str, tables: dict[str, pd.DataFrame]) -> list[Claim]:
    """The claims of a figure, given the frames of `analysis.compare` by table."""
    stated = read_yaml(CLAIMS).get(figure, [])
    return [_judge(claim, tables[claim["table"]]) for claim in stated]


def _judge(claim: dict, frame: pd.DataFrame) -> Claim:
    ((key, value),) = claim.get("lowest", claim.get("highest")).items()
    cells = frame
    for column, kept in claim.get("only", {}).items():
        cells = cells[cells[column].isin(kept)]
    others = [column for column in TABLES[claim["table"]].keys if column != key]
    found = []
    groups = [group for _, group in cells.groupby(others)] if others else [cells]
    for group in groups:
        run = group[group.n > 0]
        ours, rivals = run[run[key] == value], run[run[key] != value]
        if len(ours) and len(rivals):
            found.append(_wins(ours.iloc[0], rivals, "lowest" in claim))
    return Claim(claim["text"], found.count(True), len(found), found.count(None), len(groups))


def _wins(ours: pd.Series, rivals: pd.DataFrame, lowest: bool) -> bool | None:
    """Whether ours is beyond all rivals; None where the interval of one of them overlaps with ours."""
    below, above = rivals.high < ours.low, ours.high < rivals.low
    beaten, beats = (below, above) if lowest else (above, below)
    return True if beats.all() else False if beaten.any() else None
