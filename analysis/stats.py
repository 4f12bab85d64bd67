"""The statistics that every figure and table uses."""

import re

import numpy as np

CONFIDENCE = 0.95
FEWEST = 5  # seeds that have an interval: where one in four fails, fewer miss the mean in over a quarter of all cases
REALS = (-np.inf, np.inf)
ERRORS = (0.0, 1.0)  # bounds of an error, and of every share
SHARES = re.compile(r"error|.*_(share|accuracy|greedy|newly_solved|pass_at_\d+)")
TAIL = 0.1  # share of the training, at its end, over which an error is averaged: one step alone is noisy


def bounds(metric: str) -> tuple[float, float]:
    """Bounds of a metric, by its name."""
    return ERRORS if SHARES.fullmatch(metric) else REALS


def interval(values: np.ndarray, within: tuple[float, float] = REALS) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of the mean over the last axis (seeds), in the unit of the values and `within` their bounds.

    `predicted` for infinitely many seeds, but on the side of the shorter tail no further than the outermost value: a
    mean is hardly ever beyond all values there, and that of positive values stays positive. NaN for under FEWEST seeds.
    """
    values = np.asarray(values, dtype=float)
    if values.shape[-1] < FEWEST:
        return _none(values)
    mean, below, above = _reach(values, np.inf, values.shape[-1])
    low, high = mean - below, mean + above
    low = np.where(below < above, np.maximum(low, values.min(-1)), low)
    high = np.where(above < below, np.minimum(high, values.max(-1)), high)
    return low.clip(*within), high.clip(*within)


def mean_with_interval(values: np.ndarray, within: tuple[float, float] = REALS) -> dict[str, float]:
    """Keys mean, low, high and n of values (n,) of n seeds: their mean with its `interval`; NaN for none."""
    low, high = interval(values, within)
    mean = float(np.mean(values)) if len(values) else np.nan
    return {"mean": mean, "low": float(low), "high": float(high), "n": len(values)}


def predicted(
    values: np.ndarray, seeds: float, ours: int | None = None, within: tuple[float, float] = REALS
) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval in which the mean of k = `seeds` new seeds should fall, given values (..., n) of n seeds.

    Student's, with its end on the side of the longer tail further out. With mean m, standard deviation s, skewness g
    and Student's quantile t at 97.5 % of n - 1 degrees of freedom,

        m - t r  to  m + t r + e  for g > 0,    m - t r - e  to  m + t r  for g < 0,    r = s sqrt(1 / n + 1 / k)
        e = (1 + 20 / n) |g| s (1 / (2 n) + (t^2 - 1) (1 / k + 2 / n) / 6)

    e without its first factor is how far skewness moves the quantiles of (new mean - m) / r to first order
    (Cornish-Fisher); for infinite k it is |g| s (1 + 2 t^2) / (6 n), https://doi.org/10.1080/01621459.1978.10480051.
    The first factor is chosen: the skewness of few values falls short of the true one, and with it the interval keeps
    92 % at ten seeds, lognormal ones too.

    ours    the same for that n, with the spread of these values
    within  bounds of the values, which no mean passes

    NaN for under FEWEST seeds; the mean itself where all are equal. What no seed did it cannot know: `unseen` can.
    """
    values = np.asarray(values, dtype=float)
    if values.shape[-1] < FEWEST:
        return _none(values)
    mean, below, above = _reach(values, seeds, ours or values.shape[-1])
    return (mean - below).clip(*within), (mean + above).clip(*within)


def _none(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    nan = np.full(values.shape[:-1], np.nan)
    return nan, nan


def _reach(values: np.ndarray, seeds: float, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean of values, and how far below and above it the interval of `predicted` reaches."""
    from scipy.special import stdtrit  # slow to import

    count, mean = values.shape[-1], values.mean(-1)
    constant = (values.min(-1) == values.max(-1))[..., None]
    mean = np.where(constant[..., 0], values[..., 0], mean)  # which rounding may miss
    deviation = values - mean[..., None]
    spread = deviation.std(-1)
    skewness = ((deviation / np.where(spread > 0, spread, 1)[..., None]) ** 3).mean(-1)
    spread = spread * np.sqrt(count / (count - 1))
    t = stdtrit(n - 1, (1 + CONFIDENCE) / 2)
    half = t * spread * np.sqrt(1 / n + 1 / seeds)
    tail = (1 + 20 / n) * skewness * spread * (1 / (2 * n) + (t**2 - 1) * (1 / seeds + 2 / n) / 6)
    return mean, half - np.minimum(tail, 0), half + np.maximum(tail, 0)


def late(errors: np.ndarray) -> np.ndarray:
    """Error of each seed, mean over the last tenth of the records (n, seeds) of `filled_errors`."""
    return filled_errors(errors[-max(1, round(TAIL * len(errors))) :]).mean(axis=0)


def filled_errors(errors: np.ndarray) -> np.ndarray:
    """Errors, 1 in place of each that is not finite: a seed that diverged solves nothing."""
    return np.where(np.isfinite(errors), errors, errors.dtype.type(1))


def steps_to(steps: np.ndarray, mean_error: np.ndarray, threshold: float) -> int | None:
    """First recorded step at which the seed-mean error is below `threshold`, or None."""
    below = np.flatnonzero(mean_error < threshold)
    return int(steps[below[0]]) if len(below) else None


def first_step(steps: np.ndarray, errors: np.ndarray, threshold: float) -> tuple[float, float, float]:
    """`steps_to` of the seed-mean of errors (steps, seeds), and those of the two ends of its 95 % interval.

    A mean error that falls is below the threshold by a step just if it is there, so the interval covers that step as
    often as the mean. Infinite: not within the recorded steps. NaN interval for under FEWEST seeds.
    """
    value = _first(steps, errors.mean(axis=1), threshold) if errors.shape[1] else np.inf
    return value, *first_steps_of_bounds(steps, interval(errors, ERRORS), threshold)


def first_steps_of_bounds(
    steps: np.ndarray, bounds: tuple[np.ndarray, np.ndarray], threshold: float
) -> tuple[float, float]:
    """First steps at which the lower and the upper bound (steps,) of a mean error are below `threshold`.

    Infinite: not within the recorded steps. NaN where there are no bounds.
    """
    low, high = (np.nan if np.isnan(bound).all() else _first(steps, bound, threshold) for bound in bounds)
    return low, high


def _first(steps: np.ndarray, errors: np.ndarray, threshold: float) -> float:
    found = steps_to(steps, errors, threshold)
    return np.inf if found is None else float(found)


def unseen(ours: int, seeds: int) -> float:
    """Largest share of `seeds` new seeds (upper end of the 95 % interval) that does what none of `ours` did.

    Beta-binomial, from Jeffreys' prior Beta(1/2, 1/2) on the probability; k of n new seeds do it with the chance

        C(n, k) B(k + 1/2, n - k + ours + 1/2) / B(1/2, ours + 1/2),    C(n, k) = 1 / ((n + 1) B(n - k + 1, k + 1))
    """
    from scipy.special import betaln  # slow to import

    k = np.arange(seeds + 1)
    logs = betaln(k + 0.5, seeds - k + ours + 0.5) - betaln(0.5, ours + 0.5)
    logs -= np.log(seeds + 1) + betaln(seeds - k + 1, k + 1)
    return float(np.searchsorted(np.exp(logs).cumsum(), (1 + CONFIDENCE) / 2)) / seeds


def steps_per_seed(steps: np.ndarray, errors: np.ndarray, threshold: float) -> np.ndarray:
    """First recorded step (seeds,) at which the error of each seed is below `threshold`; infinite for never.

    A seed that never arrives is censored, not dropped: a median over seeds stays right while under half are infinite.
    """
    below = errors < threshold
    return np.where(below.any(axis=0), steps[below.argmax(axis=0)], np.inf)


def paired(ours: dict[int, float], theirs: dict[int, float]) -> tuple[float, float, float, int]:
    """Mean of ours - theirs over the seeds that both have, its `interval`, and their number."""
    common = sorted(ours.keys() & theirs.keys())
    difference = np.array([ours[seed] - theirs[seed] for seed in common])
    if not len(difference):
        return np.nan, np.nan, np.nan, 0
    low, high = interval(difference)
    return float(difference.mean()), float(low), float(high), len(common)
