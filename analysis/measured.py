"""The result of one run for one number of the paper."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.measures import Interval, Measure, StepsTo
from analysis.outcomes import Outcomes


@dataclass(frozen=True)
class Measured:
    """A measure of records at steps (n,): values (n, seeds). `theirs`: the paper's number of seeds.

    `two_valued`: whether some seeds of its environment end near 0 and others near chance.
    """

    measure: Measure
    steps: np.ndarray
    values: np.ndarray
    theirs: int
    env: str = ""
    run: str = ""
    two_valued: bool = False

    @cached_property
    def n(self) -> int:
        return self.measure.count(self.steps, self.values)

    @cached_property
    def value(self) -> float:
        return self.measure.value(self.steps, self.values)

    @cached_property
    def interval(self) -> Interval:
        return self.measure.interval(self.steps, self.values)

    @cached_property
    def outcomes(self) -> Outcomes | None:
        """How the seeds end up to the step that the measure reads; None where it reads no error there."""
        if isinstance(self.measure, StepsTo) or self.measure.metric != "error":
            return None
        return Outcomes.of(self.values[: self.measure.place(self.steps) + 1], self.measure.scale)

    @property
    def learns_or_not(self) -> bool:
        return self.two_valued and self.outcomes is not None

    def predicted(self, ours: int | None = None) -> Interval:
        """Where the paper's number should be, had we `ours` seeds with the spread of these (None: these alone)."""
        low, high = self.measure.predicted(self.steps, self.values, self.theirs, ours)
        return self.outcomes.widened(low, high, self.theirs, ours or self.n) if self.learns_or_not else (low, high)

    @cached_property
    def text(self) -> str:
        """value [95 % interval] n=seeds, and where `verdicts.READING` says so, how many learnt and the last tenth."""
        measure, (low, high) = self.measure, self.interval
        text = measure.text(self.value)
        if np.isnan(low):
            text += " [-]"
        elif np.isfinite(low):
            end = f">{self.steps[-1]}" if np.isinf(high) else measure.text(high)
            text += f" [{measure.text(low)}, {end}]"
        text += f" n={self.n}"
        if self.learns_or_not:
            text += f", {self.outcomes.learnt} learnt"
        if measure.is_final_error:
            text += f", last tenth {measure.text(float(self.outcomes.late.mean()))}"
        return text

    def paper_text(self, paper: float) -> str:
        """The paper's value as it is stated, and how many of its seeds that implies to have learnt."""
        text = stated_text(paper)
        if not self.learns_or_not or np.isinf(paper):
            return text
        return f"{text}, about {self.outcomes.implied(paper, self.theirs)} of {self.theirs} learnt"


def stated_text(paper: float) -> str:
    """A number of the paper, with no more digits than it states; its "-" is infinite."""
    return "-" if np.isinf(paper) else f"{paper:g}"
