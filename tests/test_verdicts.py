"""Verdicts on made-up cells, on both sides of every border of the rule; seeds that learn or do not; open orders."""

import numpy as np
import pandas as pd
import pytest

from analysis import outcomes, stats
from analysis.compare import compare, markdown
from analysis.load import sweep_rows
from analysis.measured import Measured
from analysis.measures import Mean, StepsTo
from analysis.paper import EPISODES, TABLES, notes
from analysis.undecided import undecided_cells
from analysis.verdicts import (
    DIFFERS,
    DIRECTION,
    ENOUGH,
    FEW,
    LEGEND,
    MAX_SEEDS_ASKED,
    NOT_RUN,
    REPRODUCED,
    TOO_WIDE,
    Cell,
    describe_verdict,
    seeds_needed,
    verdict,
)
from store.archive import Archive
from store.results import Results
from store.runs import RunStore
from tests.helpers import ROOT

NEVER = np.inf
PERCENT, FRACTION, TABLE3 = Mean(scale=100, decimals=1), Mean(), Mean(scale=100, decimals=1, hopeless=95)
NORM, SURPLUS, SHARE = (Mean(metric=name) for name in ("grad_norm", "surplus_4", "all_fail_share"))


def cell(measure, paper, low, high, n=ENOUGH, ours=None) -> Cell:
    return Cell(measure, paper, n, (low + high) / 2 if ours is None else ours, low, high)


@pytest.mark.parametrize(
    ("measure", "paper", "narrow", "wide"),
    [
        (NORM, 4.0, (3.0, 5.0), (2.9, 5.0)),  # a quarter of the value
        (SURPLUS, -0.125, (-0.15625, -0.09375), (-0.157, -0.09375)),
        (SHARE, 0.125, (0.09375, 0.15625), (0.093, 0.15625)),  # not an error: five points of it are no limit
        (PERCENT, 40.0, (30.0, 50.0), (29.9, 50.0)),
        (PERCENT, 2.0, (0.0, 10.0), (0.0, 10.1)),  # five points of error
        (FRACTION, 0.02, (0.0, 0.1), (0.0, 0.101)),
        (StepsTo(), 40.0, (30.0, 60.0), (30.0, 61.0)),  # fifteen episodes
        (StepsTo(), 200.0, (150.0, 250.0), (150.0, 251.0)),
    ],
)
def test_only_an_informative_interval_reproduces(measure, paper, narrow, wide):
    assert verdict(cell(measure, paper, *narrow)) == REPRODUCED
    assert verdict(cell(measure, paper, *wide)) == TOO_WIDE


@pytest.mark.parametrize(
    ("paper", "low", "high", "expected"),
    [
        (NEVER, NEVER, NEVER, REPRODUCED),  # no repetition arrives
        (NEVER, 900, NEVER, TOO_WIDE),  # some do
        (NEVER, 300, 400, DIFFERS),
        (350, 340, 360, REPRODUCED),
        (350, 340, NEVER, TOO_WIDE),
        (350, 360, NEVER, DIFFERS),
        (350, NEVER, NEVER, DIFFERS),
    ],
)
def test_an_arrival_may_never_come(paper, low, high, expected):
    assert verdict(cell(StepsTo(), paper, low, high)) == expected


@pytest.mark.parametrize(
    ("paper", "low", "high", "expected"),
    [
        (NEVER, 95.1, 99, REPRODUCED),
        (NEVER, 90, 95.1, REPRODUCED),  # the paper's value is anything above 95
        (NEVER, 90, 94.9, DIFFERS),
        (NEVER, 52, 99, REPRODUCED),  # 23.5 is at most a quarter of 95, which the value at least is
        (NEVER, 51, 99, TOO_WIDE),
        (90.6, 85, 99, REPRODUCED),
        (90.6, 96, 99, DIFFERS),
    ],
)
def test_a_value_that_the_paper_does_not_print_is_above_95(paper, low, high, expected):
    assert verdict(cell(TABLE3, paper, low, high)) == expected


@pytest.mark.parametrize(
    ("paper", "low", "high", "expected"),
    [
        (7.0, 7.0, 9.0, REPRODUCED),
        (9.0, 7.0, 9.0, REPRODUCED),
        (6.9, 7.0, 9.0, DIFFERS),
        (9.1, 7.0, 9.0, DIFFERS),
        (0.0, 0.04, 1.0, REPRODUCED),  # 0.0 may stand for up to 0.05
        (0.0, 0.06, 1.0, DIFFERS),
    ],
)
def test_a_value_outside_the_interval_differs(paper, low, high, expected):
    assert verdict(cell(PERCENT, paper, low, high)) == expected


@pytest.mark.parametrize(("n", "expected"), [(0, NOT_RUN), (1, FEW), (9, FEW), (10, REPRODUCED)])
def test_fewer_than_ten_seeds_get_no_verdict(n, expected):
    assert verdict(cell(PERCENT, 7.0, 6.0, 8.0, n=n)) == expected
    assert verdict(cell(PERCENT, np.nan, 6.0, 8.0, n=n)) == ""


def test_outside_the_order_of_methods_may_be_the_papers():
    mine = cell(TABLE3, 20.0, 30.0, 32.0)
    lower, higher = cell(TABLE3, 10.0, 25.0, 27.0), cell(TABLE3, NEVER, 40.0, 42.0)
    assert verdict(mine) == DIFFERS  # nothing to order
    assert verdict(mine, [lower, higher]) == DIRECTION
    assert verdict(mine, [lower, cell(TABLE3, NEVER, 26.0, 28.0)]) == DIFFERS
    assert verdict(mine, [lower, cell(TABLE3, 40.0, 30.0, 32.0)]) == DIFFERS  # a tie is no order
    assert verdict(mine, [lower, Cell(TABLE3, 5.0)]) == DIRECTION  # what was not run does not count
    assert verdict(mine, [cell(TABLE3, 20.0, 1.0, 2.0), higher]) == DIRECTION  # nor what the paper ties
    assert verdict(cell(TABLE3, NEVER, 90.0, 92.0), [mine, cell(TABLE3, NEVER, 80.0, 82.0)]) == DIRECTION


def test_every_verdict_has_its_words():
    assert set(LEGEND) == {REPRODUCED, TOO_WIDE, DIRECTION, DIFFERS, FEW, NOT_RUN}
    assert "25 % of the paper's value, or at most 5 points of error, or at most 15 episodes" in LEGEND[REPRODUCED]
    wide = cell(TABLE3, 40.0, 2.0, 97.0)
    assert describe_verdict(TOO_WIDE, wide, 40.0) == "too wide to tell: 2.0 to - predicted, 40 seeds would do"
    assert describe_verdict(TOO_WIDE, wide, NEVER).endswith("even 1000 seeds would not do")
    assert describe_verdict(DIFFERS, wide, np.nan) == DIFFERS


def measured(finals, theirs, two_valued=True, measure=PERCENT, steps=2000, chance=1.0) -> Measured:
    """Seeds at chance until half of the training, and at these errors from there on."""
    at, finals = np.arange(1, steps + 1), np.asarray(finals, dtype=float)
    values = np.where(at[:, None] <= steps // 2, chance, finals)
    return Measured(measure, at, values, theirs, two_valued=two_valued)


def judged(one: Measured, paper: float) -> Cell:
    return Cell(one.measure, paper, one.n, one.value, *one.predicted())


def test_seeds_needed_are_the_fewest_that_are_informative():
    finals = 0.4 + 0.1 * np.random.default_rng(0).permutation(np.linspace(-2, 2, 20))
    one = measured(finals, theirs=100)
    mine = judged(one, paper=20.0)
    needed = int(seeds_needed(mine, one.predicted))
    # half-width 1.96 s (1 / n + 1 / 100) ** .5 of five points
    expected = 1 / ((5 / 1.96 / (100 * finals.std(ddof=1))) ** 2 - 1 / 100)
    assert 20 < needed == pytest.approx(expected, rel=0.15)
    for seeds, informative in ((needed, True), (needed - 1, False)):
        low, high = one.predicted(seeds)
        assert Cell(PERCENT, 20.0, seeds, 40.0, low, high).is_informative == informative


def test_no_number_of_our_seeds_makes_up_for_the_papers_few():
    one = measured([0.0] * 5 + [1.0] * 5, theirs=20)
    assert np.isinf(seeds_needed(judged(one, paper=14.5), one.predicted))
    low, high = one.predicted(MAX_SEEDS_ASKED)
    assert high - low == pytest.approx(2 * 1.96 * 50 / 20**0.5, rel=0.15)  # the spread of the mean of twenty alone
    # whether the mean is ever below 1 % hangs on one seed
    slow = measured([0.0] * 9 + [0.15], theirs=10, measure=StepsTo())
    late = judged(slow, paper=1001)
    assert verdict(late) == TOO_WIDE and np.isinf(seeds_needed(late, slow.predicted))


def test_a_seed_learnt_if_its_late_error_is_below_half_of_chance():
    late = np.array([0.0, 0.3, 0.44, 0.46, 0.9])
    found = outcomes.Outcomes(late, chance=0.9)
    assert found.learnt == 3 and found.are_two_valued
    assert not outcomes.Outcomes(late[1:], 0.9).are_two_valued  # none is near 0
    assert not outcomes.Outcomes(late[:4], 0.9).are_two_valued  # none is near chance
    assert [found.implied(error, 20) for error in (0.0, 0.13, 0.9, 0.99)] == [20, 17, 0, 0]
    assert outcomes.Outcomes.of(np.array([[0.9, 0.9]] * 18 + [[0.5, 0.1]] * 2), 100).late == pytest.approx([50, 10])


def test_a_cell_says_how_many_learnt_and_the_last_tenth():
    one = measured([0.0] * 6 + [1.0] * 4, theirs=20)
    one.values[-1] = 0.0  # the last episode is one draw
    assert one.text == "0.0 [0.0, 0.0] n=10, 6 learnt, last tenth 39.8"
    assert one.paper_text(14.5) == "14.5, about 17 of 20 learnt" and one.paper_text(NEVER) == "-"
    alike = measured([0.2] * 10, theirs=20, two_valued=False)
    assert alike.text == "20.0 [20.0, 20.0] n=10, last tenth 20.0" and alike.paper_text(14.5) == "14.5"
    early = measured([0.0] * 6 + [1.0] * 4, theirs=20, measure=Mean(at=1500, scale=100, decimals=1))
    assert early.text.endswith("n=10, 6 learnt")


def test_seeds_that_all_learnt_do_not_exclude_that_a_few_of_the_papers_did_not():
    alone, among = (measured([0.0] * 10, theirs=20, two_valued=split) for split in (False, True))
    assert verdict(judged(alone, paper=8.6)) == DIFFERS
    assert verdict(judged(among, paper=8.6)) == TOO_WIDE  # about two of twenty failed, none of our ten
    needed = int(seeds_needed(judged(among, paper=8.6), among.predicted))
    more, fewer = (measured([0.0] * seeds, theirs=20) for seeds in (needed, needed - 1))
    assert verdict(judged(more, paper=8.6)) == REPRODUCED and verdict(judged(fewer, paper=8.6)) == TOO_WIDE
    assert verdict(judged(among, paper=60.0)) == DIFFERS
    none = measured([1.0] * 10, theirs=20, measure=TABLE3)
    assert verdict(judged(none, paper=NEVER)) == REPRODUCED and verdict(judged(none, paper=60.0)) == DIFFERS
    assert none.predicted()[0] == pytest.approx(100 * (1 - stats.unseen(10, 20)))
    mixed = [0.0] * 9 + [1.0]
    assert measured(mixed, 20).predicted() == measured(mixed, 20, two_valued=False).predicted()


def frame(**intervals: tuple[int, float, float]) -> pd.DataFrame:
    """Cells of table 3 at one horizon: n, low and high by method."""
    lines = [{"algo": algo, "n": n, "low": low, "high": high} for algo, (n, low, high) in intervals.items()]
    return pd.DataFrame(lines).assign(match="prompts", horizon=7)


def test_the_order_of_methods_is_open_where_their_intervals_overlap():
    found = frame(tpo=(10, 1, 5), grpo=(10, 6, 9), ppo=(10, 8, 12), dg=(0, np.nan, np.nan))
    assert undecided_cells("table3", found).algo.tolist() == ["grpo", "ppo"]
    assert undecided_cells("table3", frame(tpo=(10, 1, 5), grpo=(10, 5.1, 9))).empty
    assert len(undecided_cells("table3", frame(tpo=(10, 1, 5), grpo=(1, np.nan, np.nan)))) == 2  # one seed: no interval
    assert undecided_cells("table3", frame(ppo=(10, 96, 99), dg=(10, 95.5, 98))).empty  # both "-"
    apart = pd.concat([frame(tpo=(10, 1, 5)), frame(grpo=(10, 2, 6)).assign(horizon=8)], ignore_index=True)
    assert undecided_cells("table3", apart).empty
    never = {"vocab": 2, "n": 10, "high": NEVER}
    arrivals = pd.DataFrame([never | {"algo": "ppo", "low": NEVER}, never | {"algo": "dg", "low": NEVER}])
    assert undecided_cells("table1", arrivals).empty
    assert len(undecided_cells("table1", arrivals.assign(low=[NEVER, 900.0]))) == 2


def test_the_note_of_table_5_is_what_the_results_show(tmp_path):
    store = Results(RunStore(tmp_path), Archive(ROOT / "results"))
    found = compare("table5", [row for row in sweep_rows("fig16", store) if row.config["algo"]["eta"] == 1])
    line = found.set_index("measure").loc[EPISODES].query("eta == 1 and n > 0").iloc[0]
    assert line.predicted_low <= 55 < 58 <= line.predicted_high < 96 == line.paper and line.verdict == DIFFERS
    (note,) = notes("table5")
    assert "58, 55 and, here, 96" in note and f"Note: {note}\n" in markdown("table5", found)


def test_notes_stand_where_the_paper_has_one_setting_twice():
    assert {name for name in TABLES if notes(name)} == {"table1", "table2", "table3", "table5"} | {
        f"fig{figure}_numbers" for figure in (12, 13, 15)
    }
