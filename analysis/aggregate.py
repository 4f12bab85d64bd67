"""One number for a method over many tasks: scores of which higher is better, every task with the same weight.

A task is an array of one score per seed. A seed that turned non-finite scores 0. A task without seeds is a missing
cell: its method has no number, so every function here gives NaN. Definitions: https://arxiv.org/abs/2108.13264
"""

import numpy as np
import pandas as pd

from analysis.stats import CONFIDENCE, FEWEST

RESAMPLES = 2000
TIE = 1e-3  # scores that differ by less may do so by rounding: wins count them as ties, ranks round to its multiples


def iqm(tasks: list[np.ndarray]) -> np.ndarray:
    """Interquartile mean over the seeds of tasks (..., seeds): the mean of what is left without the best quarter and
    the worst. Tasks weigh the same, however many seeds each has.
    """
    if _is_incomplete(tasks):
        return np.full(tasks[0].shape[:-1] if tasks else (), np.nan)
    values = np.concatenate([_scores(task) for task in tasks], axis=-1)
    weights = np.concatenate([np.full(task.shape[-1], 1 / task.shape[-1]) for task in tasks])
    return _interquartile_mean(values, np.broadcast_to(weights, values.shape))


def iqm_interval(tasks: list[np.ndarray]) -> tuple[float, float]:
    """95 % interval of `iqm` by the bootstrap over the seeds of each task (seeds,)."""
    if not _has_interval(tasks):
        return np.nan, np.nan
    rng = np.random.default_rng(0)
    weights = np.concatenate([_weights(rng, len(task)) for task in tasks], axis=-1)
    values = np.broadcast_to(np.concatenate([_scores(task) for task in tasks]), weights.shape)
    low, high = _bounds(_interquartile_mean(values, weights))
    return float(low), float(high)


def improvement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Probability that a seed of ours has a higher score than one of theirs: mean of 1[a > b] + 1[a = b] / 2.

    Scores that differ by at most TIE are equal.
    """
    return float(_wins(_scores(ours), _scores(theirs)).mean())


def ranks(scores: pd.DataFrame) -> pd.Series:
    """Mean place of each method (rows) over the tasks (columns); the highest score of a task has place 1."""
    return (scores / TIE).round().rank(axis=0, ascending=False).mean(axis=1)


def improvement_over_tasks(ours: list[np.ndarray], theirs: list[np.ndarray]) -> tuple[float, float, float]:
    """Probability that a seed of ours has a higher score than one of theirs in the same task, and its 95 % interval.

    With scores a of ours and b of theirs in task t, the mean over tasks of P_t(a > b) + P_t(a = b) / 2; scores within
    TIE are equal. The interval is by the bootstrap over the seeds of each task. Raises ValueError for lists of
    different length.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"ours has {len(ours)} tasks and theirs {len(theirs)}, but they must be the same tasks")
    if _is_incomplete(ours) or _is_incomplete(theirs):
        return np.nan, np.nan, np.nan
    wins = [_wins(_scores(a), _scores(b)) for a, b in zip(ours, theirs, strict=True)]
    value = float(np.mean([won.mean() for won in wins]))
    if not (_has_interval(ours) and _has_interval(theirs)):
        return value, np.nan, np.nan
    rng = np.random.default_rng(0)
    drawn = [(_weights(rng, len(won)) @ won * _weights(rng, len(won.T))).sum(axis=-1) for won in wins]
    low, high = _bounds(np.mean(drawn, axis=0))
    return value, float(low), float(high)


def performance_profile(tasks: list[np.ndarray], thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of seeds with a score of at least each threshold (n,), mean over tasks, and its 95 % band, each (n,).

    The band is pointwise, by the bootstrap over the seeds of each task.
    """
    nan = np.full(len(thresholds), np.nan)
    if _is_incomplete(tasks):
        return nan, nan, nan
    reached = [(_scores(task)[:, None] >= thresholds).astype(float) for task in tasks]
    share = np.mean([task.mean(axis=0) for task in reached], axis=0)
    if not _has_interval(tasks):
        return share, nan, nan
    rng = np.random.default_rng(0)
    low, high = _bounds(np.mean([_weights(rng, len(task)) @ task for task in reached], axis=0))
    return share, low, high


def _interquartile_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of values (..., n) between the quartiles of the distribution that weights (..., n) make of them."""
    order = values.argsort(axis=-1)
    values, weights = (np.take_along_axis(array, order, axis=-1) for array in (values, weights))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    ends = weights.cumsum(axis=-1)
    inside = (np.minimum(ends, 0.75) - np.maximum(ends - weights, 0.25)).clip(0)
    return (inside * values).sum(axis=-1) / inside.sum(axis=-1)


def _scores(task: np.ndarray) -> np.ndarray:
    return np.nan_to_num(task, nan=0.0, posinf=0.0, neginf=0.0)


def _wins(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """1 where a score of ours (n,) is higher than one of theirs (m,), 1/2 where they tie, else 0: (n, m)."""
    difference = ours[:, None] - theirs[None, :]
    return (difference > TIE) + 0.5 * (abs(difference) <= TIE)


def _is_incomplete(tasks: list[np.ndarray]) -> bool:
    return not tasks or any(task.shape[-1] == 0 for task in tasks)


def _has_interval(tasks: list[np.ndarray]) -> bool:
    return bool(tasks) and all(len(task) >= FEWEST for task in tasks)


def _weights(rng: np.random.Generator, seeds: int) -> np.ndarray:
    """Weight of each of n seeds in each resample of n - 1 of them (resamples, n).

    A mean of n - 1 draws from n values has the variance s^2 / n, which one of n draws has too small by (n - 1) / n.
    """
    drawn = rng.integers(seeds, size=(RESAMPLES, seeds - 1)) + seeds * np.arange(RESAMPLES)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=RESAMPLES * seeds)
    return counts.reshape(RESAMPLES, seeds) / (seeds - 1)


def _bounds(resamples: np.ndarray) -> np.ndarray:
    return np.quantile(resamples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
