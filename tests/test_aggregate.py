"""Numbers over many tasks against what they are by hand, on made-up scores."""

import numpy as np
import pytest
from scipy.stats import trim_mean

from analysis import aggregate


def made_up(rng: np.random.Generator, seeds: int, worse: float = 0.0) -> list[np.ndarray]:
    """Twelve tasks, of which four are either solved or not and the others spread."""
    spread = [rng.beta(2 + task, 2, size=seeds) - worse for task in range(8)]
    return spread + [(rng.random(seeds) < 0.75 - worse).astype(float) for _ in range(4)]


def test_interquartile_mean_leaves_out_the_outer_quarters():
    assert aggregate.iqm([np.array([100.0, 1, 2, 3, 4, 5, 6, -50])]) == pytest.approx(3.5)
    assert aggregate.iqm([np.array([0.0, 4, 5, 100]), np.array([0.0, 6, 7, 100])]) == pytest.approx(5.5)
    odd = np.random.default_rng(1).normal(size=(3, 40))
    assert aggregate.iqm([odd]) == pytest.approx(trim_mean(odd, 0.25, axis=-1))


def test_a_quarter_may_end_within_a_seed():
    # of three seeds the outer two keep a twelfth of the weight each, the middle one a third
    assert aggregate.iqm([np.array([0.0, 1, 5])]) == pytest.approx((0 / 12 + 1 / 3 + 5 / 12) * 2)


def test_a_task_with_a_hundred_times_the_seeds_weighs_no_more():
    many, few = np.zeros(300), np.ones(3)
    assert aggregate.iqm([many, few]) == pytest.approx(0.5)
    assert aggregate.improvement_over_tasks([many, few], [np.zeros(2), np.zeros(2)])[0] == 0.75
    assert aggregate.performance_profile([many, few], np.array([0.5]))[0].tolist() == [0.5]


def test_improvement_counts_pairs_and_halves_ties():
    assert aggregate.improvement(np.array([2.0, 3]), np.array([1.0, 2])) == (1 + 1 + 0.5 + 1) / 4
    assert aggregate.improvement(np.array([1.0]), np.array([1.0])) == 0.5


def test_improvement_over_tasks_wants_high_scores():
    ours, theirs = [np.array([1.0, 2]), np.array([5.0])], [np.array([2.0, 3]), np.array([4.0])]
    assert aggregate.improvement_over_tasks(ours, theirs)[0] == (0.125 + 1) / 2
    assert aggregate.improvement_over_tasks(theirs, ours)[0] == (0.875 + 0) / 2
    equal = [np.full(5, 0.3)] * 3
    assert aggregate.improvement_over_tasks(equal, equal) == (0.5, 0.5, 0.5)


def test_a_profile_is_the_share_of_seeds_at_a_score_or_above():
    tasks = [np.array([0.1, 0.5, 0.5, 0.9]), np.array([0.5, 1.0])]
    share, low, high = aggregate.performance_profile(tasks, np.array([0.0, 0.5, 0.6, 1.0, 1.1]))
    assert share.tolist() == [1, (3 / 4 + 1) / 2, (1 / 4 + 1 / 2) / 2, (0 + 1 / 2) / 2, 0]
    assert np.isnan([low, high]).all()  # four seeds and two have no band
    share, low, high = aggregate.performance_profile([np.linspace(0, 1, 10)], np.linspace(-1, 2, 7))
    assert (low <= share).all() and (share <= high).all() and (low < high).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_seed_that_turned_non_finite_scores_0(bad):
    broken, zero = [np.array([1.0, 1, 1, 1, bad])], [np.array([1.0, 1, 1, 1, 0])]
    other = [np.array([0.5, 0.5, 0, 0, 0.5])]
    assert aggregate.iqm(broken) == aggregate.iqm(zero)
    assert aggregate.iqm_interval(broken) == aggregate.iqm_interval(zero)
    assert aggregate.improvement_over_tasks(broken, other) == aggregate.improvement_over_tasks(zero, other)
    assert aggregate.improvement_over_tasks(broken, other)[0] == (20 + 2 / 2) / 25
    for one, same in zip(*(aggregate.performance_profile(t, np.array([0, 0.5])) for t in (broken, zero)), strict=True):
        assert one.tolist() == same.tolist()


@pytest.mark.parametrize("tasks", [[], [np.ones(10), np.empty(0)]])
def test_a_method_with_a_missing_cell_has_no_number(tasks):
    full = [np.ones(10)] * len(tasks)
    assert np.isnan(aggregate.iqm(tasks)) and np.isnan(aggregate.iqm_interval(tasks)).all()
    for ours, theirs in ((tasks, full), (full, tasks)):
        assert np.isnan(aggregate.improvement_over_tasks(ours, theirs)).all()
    assert np.isnan(aggregate.performance_profile(tasks, np.array([0.5]))).all()


def test_methods_are_compared_on_the_same_tasks():
    with pytest.raises(ValueError, match="ours has 2 tasks and theirs 1"):
        aggregate.improvement_over_tasks([np.ones(5)] * 2, [np.ones(5)])


def test_few_seeds_have_a_number_without_an_interval():
    few, enough = np.array([0.1, 0.2, 0.3, 0.4]), np.arange(10.0)
    assert np.isnan(aggregate.iqm_interval([enough, few])).all()
    value, *bounds = aggregate.improvement_over_tasks([enough], [few])
    assert value == 0.9 and np.isnan(bounds).all()


def test_intervals_cover_what_very_many_seeds_show():
    rng, trials, thresholds = np.random.default_rng(0), 100, np.array([0.3, 0.6, 0.9])
    ours, theirs = made_up(rng, 1500), made_up(rng, 1500, worse=0.1)
    truth = aggregate.iqm(ours)
    pairs = zip(ours, theirs, strict=True)
    improvement = np.mean([(a[:, None] > b).mean() + (a[:, None] == b).mean() / 2 for a, b in pairs])
    shares = np.mean([(task[:, None] >= thresholds).mean(axis=0) for task in ours], axis=0)
    inside = np.zeros((trials, 3))
    for trial in range(trials):
        a, b = made_up(rng, 10), made_up(rng, 10, worse=0.1)
        low, high = aggregate.iqm_interval(a)
        value, worst, best = aggregate.improvement_over_tasks(a, b)
        _, below, above = aggregate.performance_profile(a, thresholds)
        assert low < aggregate.iqm(a) < high and worst < value < best
        in_band = np.mean((below <= shares) & (shares <= above))
        inside[trial] = low <= truth <= high, worst <= improvement <= best, in_band
    assert (inside.mean(axis=0) > 0.9).all() and (inside.mean(axis=0) < 0.99).all()


def test_the_same_scores_give_the_same_intervals():
    tasks = made_up(np.random.default_rng(0), 10)
    assert aggregate.iqm_interval(tasks) == aggregate.iqm_interval(tasks)
