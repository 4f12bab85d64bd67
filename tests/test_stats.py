"""Statistics against what they are by hand."""

import numpy as np
import pytest
from scipy.stats import t as student

from analysis import stats
from analysis.measures import Mean, StepsTo
from benchmarks.coverage import FAMILIES, coverage

STEPS = np.arange(1, 101)


def test_a_seed_that_never_arrives_is_censored():
    errors = np.stack([np.exp(-STEPS / 10), np.full(100, 0.5)], axis=1)
    assert stats.steps_per_seed(STEPS, errors, 0.1).tolist() == [24, np.inf]


def test_paired_differences_take_common_seeds_alone():
    ours, theirs = {0: 1.0, 1: 2.0, 5: 3.0}, {1: 1.0, 5: 2.5, 7: 9.0}
    mean, low, high, count = stats.paired(ours, theirs)
    assert (mean, count) == (0.75, 2) and np.isnan([low, high]).all()
    assert stats.paired(ours, {9: 1.0})[3] == 0
    many = {seed: float(seed**2) for seed in range(6)}
    mean, low, high, count = stats.paired(many, {seed: float(seed) for seed in range(1, 9)})
    assert (mean, count) == (8.0, 5) and (low, high) == stats.interval(np.array([0.0, 2, 6, 12, 20]))


def test_a_mean_with_its_interval_has_neither_for_no_seeds():
    values = np.array([0.0, 0.1, 0.2, 0.1, 0.9])
    low, high = stats.interval(values, stats.ERRORS)
    assert stats.mean_with_interval(values, stats.ERRORS) == {"mean": values.mean(), "low": low, "high": high, "n": 5}
    none = stats.mean_with_interval(np.array([]))
    assert none.pop("n") == 0 and np.isnan(list(none.values())).all()


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("seeds", [10, 20])
def test_intervals_cover_where_values_are_skewed_or_some_seeds_fail(family, seeds):
    found = coverage(family, seeds, trials=20_000)
    assert found["interval"] >= 0.92 and found["predicted"] >= 0.92
    assert 1 <= found["interval_width"] < 1.5 and 1 <= found["predicted_width"] < 1.5


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_fewer_seeds_never_have_a_sharper_interval(family):
    """Width in that of Student's, which is itself wider for fewer."""
    found = [coverage(family, seeds) for seeds in (stats.FEWEST, 10, 20, 50)]
    for name in ("interval_width", "predicted_width"):
        widths = [one[name] for one in found]
        assert widths == sorted(widths, reverse=True) and widths[-1] >= 1 and widths[0] < 1.8


def test_few_seeds_that_may_all_learn_are_why_there_is_a_fewest():
    failing = FAMILIES["a quarter fail"]
    assert 0.75 < coverage(failing, stats.FEWEST)["interval"] < 0.8  # 0.75 ** 5 of the trials see no failure
    values = failing.draw(np.random.default_rng(0), (7, stats.FEWEST - 1))
    for bounds in (stats.interval(values), stats.predicted(values, 20)):
        assert np.shape(bounds) == (2, 7) and np.isnan(bounds).all()


def test_symmetric_seeds_have_students_interval():
    values = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    assert stats.interval(values) == pytest.approx(student.interval(0.95, 9, 5.5, values.std(ddof=1) / 10**0.5))
    half = student.ppf(0.975, 9) * values.std(ddof=1) * (1 / 10 + 1 / 20) ** 0.5
    assert stats.predicted(values, 20) == pytest.approx((5.5 - half, 5.5 + half))
    assert stats.predicted(values, 20, ours=1000)[1] == pytest.approx(
        5.5 + student.ppf(0.975, 999) * values.std(ddof=1) * (1 / 1000 + 1 / 20) ** 0.5
    )


def test_intervals_of_errors_and_shares_end_at_0_and_1():
    values = np.array([0.0, 0, 0, 0, 1])
    for metric in ("error", "all_fail_share", "test_pass_at_16", "test_accuracy"):
        assert stats.interval(values, stats.bounds(metric))[1] == 1
    assert stats.interval(values, stats.bounds("entropy"))[1] > 1 and stats.bounds("gradient_error") == stats.REALS


def test_an_interval_reaches_further_on_the_side_of_the_longer_tail():
    values = np.array([0.0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    mean, spread, t = 0.2, values.std(ddof=1), student.ppf(0.975, 9)
    skewness = (0.8 * 0.2 * (0.8 - 0.2)) / (0.8 * 0.2) ** 1.5
    low, high = stats.interval(values)
    assert low == 0.0  # Student's is below every value
    assert high == pytest.approx(mean + t * spread / 10**0.5 + 3 * skewness * spread * (1 + 2 * t**2) / 60)
    assert stats.interval(1 - values) == pytest.approx((1 - high, 1 - low))
    assert stats.interval(5 * values + 3) == pytest.approx((3.0, 5 * high + 3))
    assert stats.predicted(values, np.inf)[1] == high


def test_no_interval_passes_the_bounds_of_its_values():
    errors = np.array([0.0, 0, 0, 1, 1])
    assert stats.interval(errors)[1] > 1 and stats.interval(errors, stats.ERRORS) == (0, 1)
    assert stats.predicted(errors, 20)[0] < 0 and stats.predicted(errors, 20, within=stats.ERRORS) == (0, 1)
    assert Mean(scale=100).predicted(STEPS[:1], errors[None], seeds=20) == (0, 100)
    assert Mean(metric="surplus").interval(np.array([1]), np.array([[1.0, 1, 1, 2, 5]]))[1] > 1


def test_leading_axes_are_many_intervals():
    values = np.random.default_rng(0).exponential(size=(3, 4, 8))
    low, high = stats.interval(values)
    assert low.shape == high.shape == (3, 4)
    assert (low[1, 2], high[1, 2]) == pytest.approx(stats.interval(values[1, 2]))


def test_more_seeds_of_theirs_predict_more_sharply():
    values = np.random.default_rng(0).normal(size=(1, 20))
    few, many = (np.diff(Mean().predicted(STEPS[:1], values, seeds=n)).item() for n in (2, 200))
    assert many < 0.6 * few
    assert np.isnan(Mean().predicted(STEPS[:1], values[:, :1], seeds=20)).all()


def test_arrival_predicts_never_where_some_seeds_do_not_arrive():
    slow = np.exp(-STEPS[:, None] / np.array([5.0, 6, 7, 8, 9, 200, 200]))
    assert StepsTo().predicted(STEPS, slow, seeds=6)[1] == np.inf
    low, high = StepsTo().predicted(STEPS, slow[:, :5], seeds=6)
    assert 15 <= low < StepsTo().value(STEPS, slow[:, :5]) < high <= 50
    assert np.isnan(StepsTo().predicted(STEPS, slow[:, :4], seeds=6)).all()


def test_arrival_is_within_its_interval_as_often_as_the_mean():
    rng, at = np.random.default_rng(1), np.arange(1, 401)
    curves = np.exp(-at[:, None] / rng.lognormal(3, 0.3, size=20_000))
    truth = stats.steps_to(at, curves.mean(axis=1), 0.1)
    found = np.array([stats.first_step(at, trial, 0.1)[1:] for trial in np.split(curves[:, :3000], 300, axis=1)])
    assert 0.92 <= np.mean((found[:, 0] <= truth) & (truth <= found[:, 1])) < 0.99
    assert np.isfinite(found).all()


def test_mean_reads_the_step_it_is_asked_for():
    values = np.arange(6.0).reshape(3, 2)
    steps = np.array([10, 20, 30])
    assert Mean().value(steps, values) == 4.5 and Mean(at=20, scale=100).value(steps, values) == 250
    assert Mean(whole=True).value(steps, values) == 2.5
    assert (
        Mean(decimals=1, hopeless=95).text(95.1) == "-" == StepsTo().text(np.inf) and Mean().text(5.1e-5) == "5.1e-05"
    )


def test_an_error_that_is_not_finite_counts_as_1():
    errors = np.array([[0.5, np.nan, 0.25], [0.5, np.inf, np.nan]], np.float32)
    assert stats.filled_errors(errors).tolist() == [[0.5, 1, 0.25], [0.5, 1, 1]]
    assert stats.filled_errors(errors).dtype == np.float32 and stats.late(errors).tolist() == [0.5, 1, 1]
