"""Seeds that either learn or do not: how many learnt, and how many of the paper's must have."""

from dataclasses import dataclass

import numpy as np

from analysis import stats

LEARNT = 0.5  # of chance: below it is the late error of a seed that learnt
NEAR = 0.25  # of chance: how near to 0 or to chance the late errors of an outcome of two values are


@dataclass(frozen=True)
class Outcomes:
    """Late errors of seeds, each a mean over the last tenth of the records (n,), and the error at chance."""

    late: np.ndarray
    chance: float

    @classmethod
    def of(cls, errors: np.ndarray, scale: float) -> "Outcomes":
        """From errors (steps, seeds), of which the first are at chance."""
        return cls(scale * stats.late(errors), scale * float(errors[0].mean()))

    @property
    def learnt(self) -> int:
        return int((self.late < LEARNT * self.chance).sum())

    @property
    def are_two_valued(self) -> bool:
        """Whether some seeds end near 0 and others near chance."""
        return bool(self.late.min() < NEAR * self.chance and self.late.max() > (1 - NEAR) * self.chance)

    def implied(self, error: float, seeds: int) -> int:
        """About how many of `seeds` learnt if their mean error is this: error / chance of them did not."""
        return round(seeds * (1 - min(error / self.chance, 1)))

    def widened(self, low: float, high: float, seeds: int, ours: int) -> tuple[float, float]:
        """An interval predicted for the mean of `seeds`, with what no seed of `ours` did.

        Seeds that all learnt do not exclude that some of the others did not, nor the other way round.
        """
        if 0 < self.learnt < len(self.late):
            return low, high
        share, mean = stats.unseen(ours, seeds), float(self.late.mean())
        if self.learnt:
            return low, max(high, mean + share * (self.chance - mean))
        return min(low, mean - share * mean), high
