"""The measures that the paper states: one number over seeds, its interval, and that of a repetition."""

from dataclasses import dataclass

import numpy as np

from analysis import stats

Interval = tuple[float, float]


@dataclass(frozen=True)
class Mean:
    """Mean over seeds of a metric times `scale`, at step `at` (None: the last) or over the `whole` run.

    Above `hopeless` the paper prints "-".
    """

    at: int | None = None
    metric: str = "error"
    whole: bool = False
    scale: float = 1.0
    decimals: int | None = None  # null: three significant digits
    hopeless: float = np.inf

    @property
    def is_final_error(self) -> bool:
        return self.metric == "error" and self.at is None and not self.whole

    def is_reached(self, steps: int) -> bool:
        """Whether a run of so many steps can tell it."""
        return self.at is None or self.at <= steps

    def count(self, steps: np.ndarray, values: np.ndarray) -> int:
        """Seeds that have a value; one that turned non-finite has none."""
        return len(self._per_seed(steps, values))

    def place(self, steps: np.ndarray) -> int:
        """Index of the record that it reads."""
        return len(steps) - 1 if self.at is None else int(min(np.searchsorted(steps, self.at), len(steps) - 1))

    def value(self, steps: np.ndarray, values: np.ndarray) -> float:
        found = self._per_seed(steps, values)
        return float(found.mean()) if len(found) else np.nan

    def interval(self, steps: np.ndarray, values: np.ndarray) -> Interval:
        low, high = stats.interval(self._per_seed(steps, values), self._bounds)
        return float(low), float(high)

    def predicted(self, steps: np.ndarray, values: np.ndarray, seeds: int, ours: int | None = None) -> Interval:
        low, high = stats.predicted(self._per_seed(steps, values), seeds, ours, self._bounds)
        return float(low), float(high)

    @property
    def _bounds(self) -> Interval:
        low, high = stats.bounds(self.metric)
        return self.scale * low, self.scale * high

    def rounded(self, value: float) -> float:
        return value if self.decimals is None else round(value, self.decimals)

    def text(self, value: float) -> str:
        if np.isinf(value) or value > self.hopeless:
            return "-"
        return f"{value:.3g}" if self.decimals is None else f"{value:.{self.decimals}f}"

    def _per_seed(self, steps: np.ndarray, values: np.ndarray) -> np.ndarray:
        found = values.mean(axis=0) if self.whole else values[self.place(steps)]
        return self.scale * found[np.isfinite(found)]


@dataclass(frozen=True)
class StepsTo:
    """First step at which the seed-mean of the error is below `threshold`; infinite, and printed "-", for never."""

    threshold: float = 0.01
    metric: str = "error"
    hopeless = np.inf
    is_final_error = False

    def is_reached(self, steps: int) -> bool:
        return True

    def count(self, steps: np.ndarray, values: np.ndarray) -> int:
        return values.shape[1]

    def value(self, steps: np.ndarray, values: np.ndarray) -> float:
        return stats.first_step(steps, values, self.threshold)[0]

    def interval(self, steps: np.ndarray, values: np.ndarray) -> Interval:
        return stats.first_step(steps, values, self.threshold)[1:]

    def predicted(self, steps: np.ndarray, values: np.ndarray, seeds: int, ours: int | None = None) -> Interval:
        return stats.first_steps_of_bounds(steps, stats.predicted(values, seeds, ours, stats.ERRORS), self.threshold)

    def rounded(self, value: float) -> float:
        return value

    def text(self, value: float) -> str:
        return "-" if not np.isfinite(value) else f"{value:.0f}"


Measure = Mean | StepsTo
