"""The statistics that every figure and table uses."""

import warnings

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 999


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % BCa bootstrap interval of the mean over the last axis (seeds), in the unit of the values.

    Seeded, so the same data give the same interval. NaN for fewer than two values; the mean itself where all are
    equal. https://doi.org/10.1080/01621459.1987.10478410
    """
    from scipy.stats import bootstrap  # slow to import

    values = np.asarray(values, dtype=float)
    if values.shape[-1] < 2:
        nan = np.full(values.shape[:-1], np.nan)
        return nan, nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # degenerate data are handled below
        result = bootstrap(
            (values,), np.mean, axis=-1, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, batch=100, random_state=0
        ).confidence_interval
    constant = values.min(-1) == values.max(-1)
    mean = values.mean(-1)
    return np.where(constant, mean, result.low), np.where(constant, mean, result.high)


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
