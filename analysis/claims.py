"""The paper's sentences, judged on our numbers."""

from dataclasses import dataclass

import pandas as pd

from analysis.paper import PAPER, TABLES, read_yaml
from analysis.verdicts import NOT_RUN

HOLDS, FAILS = "holds", "does not hold"
OPEN, NO_INTERVAL = "undecided (intervals overlap)", "too few seeds for an interval"
CLAIMS = PAPER.with_name("claims.yaml")


@dataclass(frozen=True)
class Claim:
    """A sentence, what was `found` in each group of cells that was run, and the number of groups, its cases.

    scale  that of the runs
    """

    text: str
    found: tuple[str, ...]
    cases: int
    scale: str = "paper"

    @property
    def verdict(self) -> str:
        missing = self.cases - len(self.found)
        if not self.found:
            return NOT_RUN
        where = "" if self.scale == "paper" else f" at {self.scale} scale"
        return self._verdict + (f"; {missing} not run" if missing else "") + where

    @property
    def _verdict(self) -> str:
        tried = len(self.found)
        if len(set(self.found)) == 1:
            return self.found[0] + (f" in all {tried} cases" if tried > 1 else "")
        others = (f", {self.found.count(other)} {other}" for other in (OPEN, NO_INTERVAL) if other in self.found)
        return f"{HOLDS} in {self.found.count(HOLDS)} of {tried} cases" + "".join(others)


def claims(figure: str, tables: dict[str, pd.DataFrame], scale: str = "paper") -> list[Claim]:
    """The claims of a figure, given the frames of `analysis.compare` by table."""
    stated = read_yaml(CLAIMS).get(figure, [])
    return [_judge(claim, tables[claim["table"]], scale) for claim in stated]


def _judge(claim: dict, frame: pd.DataFrame, scale: str) -> Claim:
    wanted = claim.get("lowest", claim.get("highest"))
    cells = frame
    for column, kept in claim.get("only", {}).items():
        cells = cells[cells[column].isin(kept)]
    groups = TABLES[claim["table"]].groups(cells, wanted)
    found, judged = [], []
    for group in sorted(groups, key=lambda group: -(group.n > 0).sum()):
        runs = set(group.run[group.n > 0]) if "run" in group else set()
        # the runs of group methods stand under both matchings; alone they say the same again
        if not any(runs <= before for before in judged):
            found.append(_compare(group, wanted, "lowest" in claim))
            judged.append(runs)
    return Claim(claim["text"], tuple(one for one in found if one != NOT_RUN), len(groups), scale)


def _compare(group: pd.DataFrame, wanted: dict, lowest: bool) -> str:
    """Whether the wanted cell of a group is beyond all others. It holds only where all of them were run."""
    is_ours = group.apply(lambda cell: all(cell[key] == value for key, value in wanted.items()), axis=1)
    ours, rivals = group[is_ours & (group.n > 0)], group[~is_ours]
    run = rivals[rivals.n > 0]
    if ours.empty or run.empty:
        return NOT_RUN
    low, high = ours.iloc[0][["low", "high"]]
    below, above = run.high < low, high < run.low
    beaten, beats = (below, above) if lowest else (above, below)
    if beaten.any():
        return FAILS
    if pd.isna([low, *run.low]).any():
        return NO_INTERVAL
    if not beats.all():
        return OPEN
    return HOLDS if len(run) == len(rivals) else NOT_RUN
