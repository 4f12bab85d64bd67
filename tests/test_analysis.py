"""Figures and tables from the store alone."""

import warnings

import numpy as np
import pandas as pd
import pytest

from analysis import curves, load, stats
from analysis.catalogue import figures
from analysis.command import main
from analysis.tables import render, summary
from store.runs import RunStore
from tests.helpers import metrics, saved


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A store with TPO and PG of figure 2, at paper settings but two seeds, and PPO beside them."""
    monkeypatch.chdir(tmp_path)
    both = pd.concat([metrics(0, 1), metrics(0, 1).assign(metric="misalignment")])
    for algo in ("tpo", "pg", "ppo"):
        saved(tmp_path, both, f"algo={algo}", "env=sparse_bandit")


def test_list_names_every_figure(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in figures()) and {"fig02", "fig03"} <= set(figures())


def test_figure_draws_what_there_is_and_says_what_is_missing(runs, tmp_path, capsys):
    assert main(["fig02"]) == 0
    out = capsys.readouterr().out
    for suffix in ("png", "pdf"):
        assert (tmp_path / "figures" / f"fig02.{suffix}").stat().st_size > 1000
    assert "GRPO has 0 of 100 seeds; run: python run.py paper=fig02 algo=grpo" in out
    assert "TPO has 2 of 100 seeds" in out
    drawn = pd.read_csv(tmp_path / "figures" / "fig02.csv")
    assert set(drawn.label) == {"TPO", "PG", "PPO"}  # PPO is not in the paper's figure
    assert set(drawn.metric) == {"error", "misalignment"}
    assert (drawn.n == 2).all()


def test_figure_without_runs_names_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # away from the results of the repository
    assert main(["fig03", "--runs-dir", str(tmp_path)]) == 1
    assert "python run.py paper=fig03" in capsys.readouterr().out


def test_a_changed_hyperparameter_is_told_apart(cli, tmp_path, capsys):
    cli("-m", "algo=tpo", "algo.eta=1,2", "train.steps=3", "seeds=2")
    assert main(["table", "sparse_bandit"]) == 0
    table = pd.read_csv(tmp_path / "figures" / "table_sparse_bandit.csv")
    assert set(table.label) == {"TPO", "TPO (eta=2)"}
    assert table.arrived.tolist() == [0, 0] and np.isinf(table["median"]).all() and (table.common == 2).all()
    assert table.beyond[0] == 0 and table.beyond[1] > 0
    assert "0 of 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["fig02", "--runs-dir", "runz"], "--runs-dir runz: no such folder"),
        (["fig02", "--out", "file"], "--out file: cannot write there (File exists)"),
        (["list", "fig02"], "list fig02: list must be the only word"),
        (["fig022"], "did you mean fig02?"),
        (["fig2"], "did you mean fig02?"),
        (["leaderboard", "--scale", "quick"], "--scale quick: leaderboard shows every scale"),
        (["leaderboard", "--of", "runs", "--scale", "quick"], "--scale quick: leaderboard shows every scale"),
    ],
)
def test_folders_words_and_options_are_checked_before_any_work(tmp_path, monkeypatch, capsys, args, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2 and text in capsys.readouterr().err


def test_table_of_an_unknown_environment_names_the_known(runs, capsys):
    assert main(["table", "sparse_bandi"]) == 1
    assert "did you mean sparse_bandit?" in capsys.readouterr().out


def test_interval_covers_the_mean_and_shrinks_with_seeds():
    rng = np.random.default_rng(0)
    few, many = rng.exponential(size=(50, 20)), rng.exponential(size=(50, 200))
    for values in (few, many):
        low, high = stats.interval(values)
        assert (low < values.mean(-1)).all() and (values.mean(-1) < high).all()
    few_low, few_high = stats.interval(few)
    many_low, many_high = stats.interval(many)
    assert 2 < np.mean(few_high - few_low) / np.mean(many_high - many_low) < 5
    covered = (few_low < 1) & (few_high > 1)
    assert covered.mean() > 0.8


def test_interval_of_degenerate_data():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(stats.interval(np.array([0.3]))).all()
        assert [float(x) for x in stats.interval(np.full(5, 0.3))] == pytest.approx([0.3, 0.3])


def test_steps_to_a_threshold():
    steps, error = np.array([1, 10, 20, 30]), np.array([0.9, 0.1, 0.05, 0.2])
    assert stats.steps_to(steps, error, 0.1) == 20
    assert stats.steps_to(steps, error, 0.01) is None


def test_a_seed_that_diverged_has_error_1_in_curves_too(tmp_path):
    frame = metrics(0, 1, 2, 3, 4, 5)
    frame = pd.concat([frame, frame.assign(metric="entropy")])
    frame.loc[(frame.seed == 5) & (frame.step > 1), "value"] = np.nan
    saved(tmp_path, frame, "algo=tpo", "env=sparse_bandit")
    (row,) = load.environment_rows("sparse_bandit", RunStore(tmp_path / "runs"))
    errors = frame[(frame.step == frame.step.max()) & (frame.metric == "error")].value.fillna(1)
    drawn = curves.curve_data(row, "error").iloc[-1]
    assert drawn["mean"] == pytest.approx(errors.mean()) == summary([row]).error[0] and drawn.n == 6
    assert curves.curve_data(row, "entropy").iloc[-1].n == 5
    assert curves.seeds_text([row]) == "n = 6 seeds, 1 of 6 non-finite" and summary([row]).non_finite[0] == 1
    assert [column.header for column in render(summary([row]), "").columns][2] == "non-finite,\nerror 1"
