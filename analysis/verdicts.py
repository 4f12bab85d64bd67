"""The verdict on a number of the paper: its rule, the limits of the rule, and its words."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.measures import Interval, Measure, StepsTo
from analysis.outcomes import LEARNT, NEAR
from analysis.stats import CONFIDENCE, FEWEST, TAIL

REPRODUCED, TOO_WIDE, DIRECTION = "reproduced", "too wide to tell", "direction only"
DIFFERS, FEW, NOT_RUN = "differs", "few seeds", "not run"

ENOUGH = 10  # seeds: of fewer, those that fail to learn, one in ten say, are too easily missed
# an interval is informative if its half-width is at most one of these three
PART = 0.25  # of the paper's value
POINTS = 5  # percentage points of an error
EPISODES = 15  # of a first step below a threshold
MAX_SEEDS_ASKED = 1000  # seeds of ours, beyond which no more are asked for


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


LEGEND = {
    REPRODUCED: f"the paper's value lies in the {_percent(CONFIDENCE)} interval that our seeds predict for the paper's "
    "number of seeds, and that interval is informative: its half-width is at most "
    f"{_percent(PART)} of the paper's value, or at most {POINTS} points of error, or at most {EPISODES} episodes",
    TOO_WIDE: "it lies in that interval, but the interval is not informative. Beside it stand the interval and how "
    "many of our seeds would make it so, given the spread that we see. If even "
    f"{MAX_SEEDS_ASKED} would not, the paper's own seeds are too few",
    DIRECTION: "it lies outside that interval, but our methods are in the paper's order (of one method: its settings)",
    DIFFERS: "it lies outside that interval, and ours are not in the paper's order, or there is nothing to order",
    FEW: f"we have fewer than {ENOUGH} seeds, which tell too little",
    NOT_RUN: "no run at the paper's settings in the store; steps to a threshold may come from a shorter one",
}
READING = (
    f"Ours is a mean with its {_percent(CONFIDENCE)} interval and the number of seeds n. The interval, and the one "
    "that our seeds predict, is Student's with the end on the side of the longer tail moved outwards by their "
    f"skewness. Fewer than {FEWEST} seeds have none: [-].",
    f"A final error is one draw of each seed, so the mean over the last {_percent(TAIL)} of the training stands beside "
    'it as "last tenth".',
    f"Where some seeds end below {_percent(NEAR)} of chance and others above {_percent(1 - NEAR)} of it, seeds either "
    "learn or do not, and every cell of that task says how many learnt: a seed learnt if its mean error over that "
    f"tenth is below {_percent(LEARNT)} of chance.",
    "How many of the paper's seeds learnt is what its mean error implies: a share of error / chance did not.",
    "If all of our seeds learnt there, or none, the predicted interval also covers the share of the paper's seeds that "
    "may still have done the other (beta-binomial, Jeffreys' prior).",
)


@dataclass(frozen=True)
class Cell:
    """A number of the paper, and ours; `low` to `high` is where the mean of as many new seeds as the paper's should be.

    paper: NaN where it states none, infinite for its "-". ours, low, high: infinite for never. n: our seeds.
    """

    measure: Measure
    paper: float
    n: int = 0
    ours: float = np.nan
    low: float = np.nan
    high: float = np.nan

    @property
    def is_inside(self) -> bool:
        low, paper, high = (self.measure.rounded(self.ranked(value)) for value in (self.low, self.paper, self.high))
        return low <= paper <= high

    @property
    def is_informative(self) -> bool:
        """Whether the interval would exclude most other values: always if a point, never if it ends at never."""
        if self.low == self.high:
            return True
        paper = min(self.paper, self.measure.hopeless)  # a "-" is at least that
        limit = max(PART * abs(paper), tolerance(self.measure))
        return bool(np.isfinite(self.high) and (self.high - self.low) / 2 <= limit)

    def ranked(self, value: float) -> float:
        """A value, infinite where the paper prints "-": it makes no difference between such values."""
        return np.inf if value > self.measure.hopeless else value


def verdict(cell: Cell, rivals: Sequence[Cell] = ()) -> str:
    """The verdict of `LEGEND`; empty where the paper has no number. `rivals`: cells that differ in the method alone."""
    if np.isnan(cell.paper):
        return ""
    if cell.n < ENOUGH:
        return FEW if cell.n else NOT_RUN
    if cell.is_inside:
        return REPRODUCED if cell.is_informative else TOO_WIDE
    return DIRECTION if _keeps_order(cell, rivals) else DIFFERS


def tolerance(measure: Measure) -> float:
    """The half-width, in the unit of a measure, that is informative whatever the paper's value."""
    if isinstance(measure, StepsTo):
        return EPISODES
    return POINTS / 100 * measure.scale if measure.metric == "error" else 0.0


def seeds_needed(cell: Cell, predict: Callable[[int], Interval]) -> float:
    """The smallest number of our seeds at which the interval of a cell would be informative.

    Infinite if it is more than MAX_SEEDS_ASKED.
    `predict`: the interval, given the spread that we see, for any number of our seeds.
    """

    def suffices(seeds: int) -> bool:
        low, high = predict(seeds)
        return replace(cell, low=low, high=high).is_informative

    if not suffices(MAX_SEEDS_ASKED):
        return np.inf
    more = range(cell.n + 1, MAX_SEEDS_ASKED)
    return cell.n + 1 + bisect_left(more, True, key=suffices)


def describe_verdict(found: str, cell: Cell, needed: float) -> str:
    """A verdict as a cell shows it: one that is too wide to tell with the predicted interval and the seeds needed."""
    if found != TOO_WIDE:
        return found
    seeds = f"even {MAX_SEEDS_ASKED} seeds would not do" if np.isinf(needed) else f"{needed:.0f} seeds would do"
    return f"{TOO_WIDE}: {cell.measure.text(cell.low)} to {cell.measure.text(cell.high)} predicted, {seeds}"


def _keeps_order(cell: Cell, rivals: Sequence[Cell]) -> bool:
    """Whether every rival with another value in the paper, run by us, is on the paper's side of the cell."""
    others = [rival for rival in rivals if rival.n and not np.isnan(rival.paper) and rival.paper != cell.paper]
    ours = cell.ranked(cell.ours)
    pairs = [(rival.ranked(rival.ours), rival.paper) for rival in others]
    agree = [ours != theirs and (ours < theirs) == (cell.paper < paper) for theirs, paper in pairs]
    return bool(agree) and all(agree)
