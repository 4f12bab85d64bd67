"""The paper's sentences, judged on our numbers."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import yaml

from analysis.compare import NOT_RUN
from analysis.paper import PAPER, TABLES

CLAIMS = PAPER.with_name("claims.yaml")


@dataclass(frozen=True)
class Claim:
    """A sentence, the groups of cells in which it holds, and those in which it was tried."""

    text: str
    held: int
    tried: int

    @property
    def verdict(self) -> str:
        if not self.tried:
            return NOT_RUN
        if self.held == self.tried:
            return "holds" if self.tried == 1 else f"holds in all {self.tried} cases"
        return f"holds in {self.held} of {self.tried} cases" if self.tried > 1 else "does not hold"


def claims(figure: str, tables: dict[str, pd.DataFrame]) -> list[Claim]:
    """The claims of a figure, given the frames of `analysis.compare` by table."""
    stated = yaml.safe_load(CLAIMS.read_text()).get(figure, [])
    return [_judge(claim, tables[claim["table"]]) for claim in stated]


def _judge(claim: dict, frame: pd.DataFrame) -> Claim:
    ((key, value),) = claim.get("lowest", claim.get("highest")).items()
    sign = 1 if "lowest" in claim else -1
    cells = frame[frame.n > 0]
    for column, kept in claim.get("only", {}).items():
        cells = cells[cells[column].isin(kept)]
    others = [column for column in TABLES[claim["table"]].keys if column != key]
    held = tried = 0
    for _, group in cells.groupby(others) if others else [((), cells)]:
        ours, rivals = group[group[key] == value], group[group[key] != value]
        if len(ours) and len(rivals):
            tried += 1
            # a value that was never reached is infinite, and beats nothing
            held += bool(np.isfinite(ours.ours.item()) and (sign * ours.ours.item() <= sign * rivals.ours).all())
    return Claim(claim["text"], held, tried)
