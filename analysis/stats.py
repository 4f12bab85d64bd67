"""The statistics that every figure and table uses."""

from collections.abc import Callable
from functools import cache

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 999
TAIL = 0.1  # share of the training, at its end, over which an error is averaged: one step alone is noisy


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % BCa bootstrap interval of the mean over the last axis (seeds), in the unit of the values.

    With m_b the means of resamples, m that of the values x_i, Phi the normal distribution and z its quantile at p:

        bounds = quantiles of m_b at Phi(z0 + (z0 + z) / (1 - a (z0 + z))),   p = 2.5 %, 97.5 %
        z0 = Phi^-1(share of m_b < m, and half of m_b = m),   a = sum (x_i - m)^3 / (6 (sum (x_i - m)^2)^1.5)

    Seeded, so the same data give the same interval. NaN for fewer than two values; the mean itself where all are
    equal. https://doi.org/10.1080/01621459.1987.10478410
    """
    from scipy.special import ndtr, ndtri  # slow to import

    values = np.asarray(values, dtype=float)
    if values.shape[-1] < 2:
        nan = np.full(values.shape[:-1], np.nan)
        return nan, nan
    mean = values.mean(-1, keepdims=True)
    means, deviation = np.sort(values @ _weights(values.shape[-1]), axis=-1), values - mean
    rounding = 1e-12 * np.abs(values).max(-1, keepdims=True)  # of the same values, added in another order
    below = ((means < mean - rounding).mean(-1) + (means <= mean + rounding).mean(-1)) / 2
    with np.errstate(all="ignore"):  # degenerate data are handled below
        z0, a = ndtri(below), (deviation**3).sum(-1) / (6 * (deviation**2).sum(-1) ** 1.5)
        shifted = [z0 + ndtri(p) for p in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)]
        bounds = [_quantiles(means, ndtr(z0 + z / (1 - a * z))) for z in shifted]
    constant = values.min(-1) == values.max(-1)
    low, high = (np.where(constant, mean[..., 0], bound) for bound in bounds)
    return low, high


@cache
def _weights(count: int) -> np.ndarray:
    """What each of `count` values weighs in the mean of each resample (count, resamples)."""
    chosen = np.random.RandomState(0).randint(count, size=(RESAMPLES, count))
    found = np.zeros((count, RESAMPLES))
    np.add.at(found, (chosen, np.arange(RESAMPLES)[:, None]), 1 / count)
    return found


def _quantiles(ordered: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The quantile of each line of ordered values (..., n) at its own share (...), linear between two values."""
    place = at * (ordered.shape[-1] - 1)
    below = np.nan_to_num(np.floor(place)).astype(int)[..., None]
    above = np.minimum(below + 1, ordered.shape[-1] - 1)
    left, right = (np.take_along_axis(ordered, index, -1)[..., 0] for index in (below, above))
    return left + (place - below[..., 0]) * (right - left)


def late(errors: np.ndarray) -> np.ndarray:
    """Error of each seed, mean over the last tenth of the records (n, seeds); 1 for one that turned non-finite."""
    return np.nan_to_num(errors[-max(1, round(TAIL * len(errors))) :], nan=1.0).mean(axis=0)


def steps_to(steps: np.ndarray, mean_error: np.ndarray, threshold: float) -> int | None:
    """First recorded step at which the seed-mean error is below `threshold`, or None."""
    below = np.flatnonzero(mean_error < threshold)
    return int(steps[below[0]]) if len(below) else None


def arrival(steps: np.ndarray, errors: np.ndarray, threshold: float) -> tuple[float, float, float]:
    """`steps_to` of the seed-mean of errors (steps, seeds), and its 95 % percentile bootstrap interval over seeds.

    Infinite: not within the recorded steps, so an interval may end there. Seeded; NaN interval for under two seeds.
    """
    count = errors.shape[1]
    arrived = steps_to(steps, errors.mean(axis=1), threshold) if count else None
    value = np.inf if arrived is None else float(arrived)
    if count < 2:
        return value, np.nan, np.nan
    weights = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count
    below = errors @ weights.T < threshold
    times = np.where(below.any(axis=0), steps[below.argmax(axis=0)], np.inf)
    # without interpolation, which has no value between a number and infinity
    low, high = np.quantile(times, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="inverted_cdf")
    return value, float(low), float(high)


def predicted(
    statistic: Callable[[np.ndarray], np.ndarray], values: np.ndarray, seeds: int, ours: int | None = None
) -> tuple[float, float]:
    """95 % interval in which the statistic of `seeds` new seeds should fall, given values (n, ...) of n seeds.

    A mean of `seeds` new ones differs from that of n by a variance of s^2 (1 / n + 1 / seeds), which is that of a mean
    of k = (n - 1) / n / (1 / n + 1 / seeds) draws from them: percentiles over resamples of k seeds. `ours`: the same
    for that many seeds of ours with the spread of these n. `statistic` maps means (resamples, ...) to (resamples,).
    Seeded; NaN for under two seeds. What no seed of ours did, it cannot predict: `unseen` can.
    """
    n = len(values)
    if n < 2:
        return np.nan, np.nan
    k = max(1, round((n - 1) / n / (1 / (ours or n) + 1 / seeds)))
    weights = np.random.default_rng(0).multinomial(k, np.full(n, 1 / n), size=RESAMPLES) / k
    found = statistic(weights @ values)
    # without interpolation, which has no value between a number and infinity
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="inverted_cdf")
    return float(low), float(high)


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


def iqm(tasks: list[np.ndarray]) -> np.ndarray:
    """Interquartile mean over the seeds of tasks (..., seeds): the mean of what is left without the best quarter and
    the worst. Tasks weigh the same, however many seeds each has.
    """
    values = np.concatenate(tasks, axis=-1)
    weights = np.concatenate([np.full(task.shape[-1], 1 / task.shape[-1] / len(tasks)) for task in tasks])
    order = values.argsort(axis=-1)
    weights = weights[order]
    ends = weights.cumsum(axis=-1)
    inside = (np.minimum(ends, 0.75) - np.maximum(ends - weights, 0.25)).clip(0)
    return (inside * np.take_along_axis(values, order, axis=-1)).sum(axis=-1) / inside.sum(axis=-1)


def iqm_interval(tasks: list[np.ndarray]) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the interquartile mean, over the seeds of each task; NaN for one in all."""
    if sum(len(task) for task in tasks) < 2:
        return np.nan, np.nan
    rng = np.random.default_rng(0)
    drawn = [task[rng.integers(len(task), size=(RESAMPLES, len(task)))] for task in tasks]
    low, high = np.quantile(iqm(drawn), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def steps_per_seed(steps: np.ndarray, errors: np.ndarray, threshold: float) -> np.ndarray:
    """First recorded step (seeds,) at which the error of each seed is below `threshold`; infinite for never.

    A seed that never arrives is censored, not dropped: a median over seeds stays right while under half are infinite.
    """
    below = errors < threshold
    return np.where(below.any(axis=0), steps[below.argmax(axis=0)], np.inf)


def improvement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Probability that a seed of ours has a lower error than one of theirs: mean of 1[a < b] + 1[a = b] / 2."""
    difference = theirs[:, None] - ours[None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def paired(ours: dict[int, float], theirs: dict[int, float]) -> tuple[float, float, float, int]:
    """Mean of ours - theirs over the seeds that both have, its 95 % BCa interval, and their number."""
    common = sorted(ours.keys() & theirs.keys())
    difference = np.array([ours[seed] - theirs[seed] for seed in common])
    if not len(difference):
        return np.nan, np.nan, np.nan, 0
    low, high = interval(difference)
    return float(difference.mean()), float(low), float(high), len(common)
