"""Statistics against what they are by hand."""

import numpy as np
import pytest
from scipy.stats import trim_mean

from analysis import stats
from analysis.measures import Arrival, Mean

STEPS = np.arange(1, 101)


def test_interquartile_mean_leaves_out_the_outer_quarters():
    assert stats.iqm([np.array([100.0, 1, 2, 3, 4, 5, 6, -50])]) == pytest.approx(3.5)
    odd = np.random.default_rng(1).normal(size=(3, 40))
    assert stats.iqm([odd]) == pytest.approx(trim_mean(odd, 0.25, axis=-1))
    many, few = np.zeros(300), np.ones(3)
    assert stats.iqm([many, few]) == pytest.approx(0.5)  # a task with a hundred times the seeds weighs no more
    low, high = stats.iqm_interval([np.random.default_rng(0).normal(5, 1, 100)])
    assert 4.6 < low < 5 < high < 5.4
    assert all(np.isnan(stats.iqm_interval([np.array([1.0])])))


def test_probability_of_improvement_counts_pairs_and_halves_ties():
    assert stats.improvement(np.array([1.0, 2]), np.array([2.0, 3])) == (1 + 1 + 0.5 + 1) / 4
    assert stats.improvement(np.array([1.0]), np.array([1.0])) == 0.5


def test_a_seed_that_never_arrives_is_censored():
    errors = np.stack([np.exp(-STEPS / 10), np.full(100, 0.5)], axis=1)
    assert stats.steps_per_seed(STEPS, errors, 0.1).tolist() == [24, np.inf]


def test_paired_differences_take_common_seeds_alone():
    ours, theirs = {0: 1.0, 1: 2.0, 5: 3.0}, {1: 1.0, 5: 2.5, 7: 9.0}
    mean, low, high, count = stats.paired(ours, theirs)
    assert (mean, count) == (0.75, 2) and low <= mean <= high
    assert stats.paired(ours, {9: 1.0})[3] == 0


def test_predicted_interval_covers_a_repetition_as_often_as_it_says():
    rng, inside = np.random.default_rng(1), 0
    for _ in range(300):
        low, high = Mean().predicted(STEPS[:1], rng.normal(size=(1, 20)), seeds=20)
        inside += low <= rng.normal(size=20).mean() <= high
    assert 0.88 < inside / 300 < 0.98


def test_more_seeds_of_theirs_predict_more_sharply():
    values = np.random.default_rng(0).normal(size=(1, 20))
    few, many = (np.diff(Mean().predicted(STEPS[:1], values, seeds=n)).item() for n in (2, 200))
    assert many < 0.6 * few
    assert np.isnan(Mean().predicted(STEPS[:1], values[:, :1], seeds=20)).all()


def test_arrival_predicts_never_where_some_seeds_do_not_arrive():
    slow = np.exp(-STEPS[:, None] / np.array([5.0, 6, 7, 8, 200, 200]))
    assert Arrival().predicted(STEPS, slow, seeds=6)[1] == np.inf
    low, high = Arrival().predicted(STEPS, slow[:, :4], seeds=6)
    assert 23 <= low <= Arrival().value(STEPS, slow[:, :4]) <= high <= 37


def test_mean_reads_the_step_it_is_asked_for():
    values = np.arange(6.0).reshape(3, 2)
    steps = np.array([10, 20, 30])
    assert Mean().value(steps, values) == 4.5 and Mean(at=20, scale=100).value(steps, values) == 250
    assert Mean(whole=True).value(steps, values) == 2.5
    assert Mean(decimals=1, hopeless=95).text(95.1) == "-" == Arrival().text(None) and Mean().text(5.1e-5) == "5.1e-05"
