"""Studies beyond the paper: their grids, their figures, and what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import boards, catalogue, rivals, stats
from analysis.command import console, has_runs, main
from analysis.compose import SWEEPS, choice
from analysis.curves import error_and_misalignment
from analysis.heat import learning_rate_maps
from analysis.load import drawn_rows, sweep_rows
from store.runs import RunStore
from tests.test_sequence_figures import fill

STUDIES = sorted(path.stem for path in SWEEPS.glob("studies/*.yaml"))
LINES = ("group_size", "model_depth", "model_heads", "model_width", "noise", "staleness")


def rows_of(figure: str, store: RunStore) -> list:
    return fill(store, [row for sweep in catalogue.sweeps(figure) for row in sweep_rows(sweep, store, "quick")], 12)


def test_every_study_is_drawn_and_knows_its_command():
    assert {sweep for figure in catalogue.figures() for sweep in catalogue.sweeps(figure)} >= set(STUDIES)
    assert choice("staleness", "quick") == ["studies=staleness", "scale=quick"] and choice("fig02", "paper") == [
        "paper=fig02"
    ]


@pytest.mark.parametrize("scale", ["paper", "quick"])
def test_groups_of_every_size_make_as_many_rollouts(tmp_path, scale):
    envs = [row.config["env"] for row in sweep_rows("group_size", RunStore(tmp_path), scale)]
    assert len({env["batch"] * env["candidates"] for env in envs}) == 1
    assert {env["candidates"] for env in envs} == {2, 4, 8, 16, 32}


@pytest.mark.parametrize("sweep", ["lr_sparsity_bandit", "lr_sparsity_bandit_share", "lr_sparsity_reversal"])
def test_learning_rates_span_three_decades_around_the_default(tmp_path, sweep):
    optims = [row.config["optim"] for row in sweep_rows(sweep, RunStore(tmp_path))]
    lrs = np.log10(sorted({optim["lr"] for optim in optims}))
    assert np.diff(lrs) == pytest.approx(0.5, abs=0.01)
    assert len(lrs) == 7 and 10 ** lrs[3] == pytest.approx({"normalized": 0.1, "muon": 1e-3}[optims[0]["name"]])


@pytest.mark.parametrize("figure", LINES)
def test_a_line_per_algorithm_over_the_setting(tmp_path, figure):
    rows = rows_of(figure, RunStore(tmp_path))
    picture, drawn = catalogue.module(figure).draw(rows)
    settings = {setting.title: setting for setting in catalogue.module(figure).SETTINGS}
    for title, panel in drawn.groupby("panel"):
        shown = [row for row in rows if settings[title].shows(row.config)]
        assert len(panel) == len(shown) > 0
        assert set(panel.setting) == {settings[title].value_in(row.config) for row in shown}
    for axis in picture.axes:
        assert axis.get_xlabel() and axis.get_ylabel() == "final error, %"
    assert set(drawn.label) == {text.get_text() for text in picture.legends[0].get_texts()}
    picture.canvas.draw()


@pytest.mark.parametrize("figure", ["lr_sparsity_bandit", "lr_sparsity_reversal"])
def test_a_map_per_algorithm_with_the_share_of_learning_rates_that_solve(tmp_path, figure):
    store = RunStore(tmp_path)
    rows = [row for row in sweep_rows(figure, store, "quick") if row.config["algo"]["name"] in ("tpo", "dg")]
    for row in fill(store, rows):
        if row.config["optim"]["lr"] > (0.1 if "bandit" in figure else 1e-3):
            row.run.save(row.run.frame().assign(value=0.5), {"seconds": 0.0})
    picture, drawn = catalogue.module(figure).draw(rows)
    assert len(drawn) == len(rows) and (drawn.n == 2).all()
    assert drawn.groupby(["label", "level"]).solved.mean().to_numpy() == pytest.approx(4 / 7)
    maps = [axis for axis in picture.axes if axis.get_xlabel() == "learning rate"]
    assert [axis.get_title() for axis in maps] == ["TPO", "DG"]
    for axis in maps:
        (shares,) = axis.child_axes
        assert {text.get_text() for text in shares.get_yticklabels()} == {"4/7"}
    picture.canvas.draw()


def test_late_errors_are_those_of_the_last_tenth_and_a_lost_seed_counts_as_wrong(tmp_path):
    store = RunStore(tmp_path)
    (row,) = fill(store, sweep_rows("staleness_bandit", store, "quick")[:1])
    values = np.array([[1.0] * 18 + [0.1, 0.3], [0.0] * 19 + [np.nan]]).ravel()
    frame = pd.DataFrame({"seed": np.repeat([0, 1], 20), "step": np.tile(np.arange(20), 2), "metric": "error"})
    row.run.save(frame.assign(value=values), {"seconds": 0.0})
    assert stats.late(row.metric("error")[1]) == pytest.approx([0.2, 0.5])
    _, drawn = learning_rate_maps([row], lambda config: (0, "one"), "title")
    assert drawn["mean"].item() == pytest.approx(0.35) and not drawn.solved.item()
    other = replace(row, config=row.config | {"algo": row.config["algo"] | {"name": "mine", "eta": 2.0}})
    _, drawn = learning_rate_maps([row, other], lambda config: (0, "one"), "title")
    assert drawn.label.nunique() == 2  # one's own method has the suite's label


def test_many_missing_runs_are_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    fill(RunStore(tmp_path / "runs"), sweep_rows("group_size", RunStore(tmp_path / "runs"), "quick")[:1])
    assert main(["group_size", "--scale", "quick"]) == 0
    out = capsys.readouterr().out
    assert "10 of 10 configurations lack seeds; run: python run.py studies=group_size scale=quick" in out


def test_an_axis_that_the_environment_lacks_is_refused(cli, tmp_path):
    code, out = cli("studies=group_size", "scale=quick", "env=digits", "algo=tpo")
    assert code == 2 and "Traceback" not in out
    assert "env.candidates: env=digits has no such key; allowed: name, task, label, dataset, data_dir, batch" in out
    assert not list(RunStore(tmp_path / "runs").runs())


def test_a_study_trains_what_its_figure_draws(cli, tmp_path):
    code, _ = cli(
        "studies=staleness_bandit", "scale=quick", "algo=tpo", "train.staleness=0,2", "train.steps=3", "seeds=2"
    )
    assert code == 0
    rows = sweep_rows("staleness_bandit", RunStore(tmp_path / "runs"), "quick")
    stored = {run.config()["train"]["staleness"] for run in RunStore(tmp_path / "runs").runs()}
    assert stored == {0, 2} <= {row.config["train"]["staleness"] for row in rows}


def test_every_rival_at_its_default_and_at_its_best_rate(tmp_path):
    store = RunStore(tmp_path)
    found = sweep_rows("rivals_bandit", store, "quick")
    rows = [row for row in found if row.config["algo"]["name"] in ("tpo", "rebel")]
    batch = {"seeds": [0, 1], "seconds": 0.0}
    for row in fill(store, rows):
        best = 0.316 if row.config["algo"]["name"] == "tpo" else 0.0316
        frame, last = row.run.frame(), 0.1 if row.config["optim"]["lr"] == best else 0.4
        row.run.save(frame.assign(value=np.where(frame.step == 1, 0.9, last)), batch)
    assert len(rows) == 12 and {rivals.learning_rate(row) for row in rivals.default_rate_rows(rows)} == {0.1}
    chosen = {
        (row.config["algo"]["name"], rivals.epochs(row)): rivals.learning_rate(row)
        for row in rivals.tuned_rate_rows(rows)
    }
    assert chosen == {("tpo", 1): 0.316, ("tpo", 4): 0.316, ("rebel", 1): 0.0316, ("rebel", 4): 0.0316}
    picture, drawn = catalogue.module("rivals").draw(rows)
    assert len(drawn) == 8 and set(drawn.method) == {"TPO", "REBEL"}
    assert drawn.groupby("reading")["mean"].max().to_dict() == pytest.approx({"defaults": 0.4, "tuned": 0.1})
    picture.canvas.draw()
    (tmp_path / "out").mkdir()
    assert boards.of_study("rivals", rows, store, tmp_path / "out", "paper", console) == 0
    for name in catalogue.module("rivals").BOARDS:
        board = pd.read_csv(tmp_path / "out" / f"leaderboard_rivals_{name}.csv")
        assert set(board.method) == {"TPO", "REBEL"} and (board.tasks == 1).all()


def test_a_board_of_no_figure_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["leaderboard", "--of", "rival"])
    assert stop.value.code == 2 and "--of rival: no such figure (did you mean rivals?)" in capsys.readouterr().err


@pytest.mark.parametrize(("figure", "panels", "lr"), [("lm_sums", 4, 3e-5), ("lm_pretrained", 6, 1e-5)])
def test_language_models_are_drawn_at_the_rate_of_the_task_with_one_epoch(tmp_path, figure, panels, lr):
    rows = sweep_rows(figure, RunStore(tmp_path), "quick")
    trained = [row for row in rows if row.config["algo"]["name"] in ("tpo", "grpo")]
    fill(RunStore(tmp_path), [row for row in trained if row.config["optim"]["lr"] == lr], 2)
    picture, drawn = catalogue.module(figure).draw([row for row in trained if row.seeds])
    assert len(picture.axes) == panels == drawn.panel.nunique()
    assert (drawn.groupby("panel").label.nunique() == 2).all()
    picture.canvas.draw()


def test_a_study_that_shares_runs_with_other_sweeps_needs_one_of_its_own(tmp_path):
    store = RunStore(tmp_path)
    fill(store, sweep_rows("fig07", store, "paper"))
    asked = {name: sweep_rows(name, store, "paper") for name in ("fig07", "group_size")}
    assert any(row.seeds for row in asked["group_size"])
    assert has_runs("fig07", asked) and not has_runs("group_size", asked)
    fill(store, asked["group_size"])
    assert has_runs("group_size", {name: sweep_rows(name, store, "paper") for name in asked})


def test_runs_with_another_warm_start_are_no_part_of_a_study(tmp_path):
    store = RunStore(tmp_path)
    fill(store, sweep_rows("lm_sums", store, "quick", ("model.warm_accuracy=0.2",)))
    assert list(store.runs()) and not drawn_rows("lm_sums", sweep_rows("lm_sums", store, "quick"), store)


@pytest.mark.parametrize(("algos", "count"), [("tpo,dg,pg", 3), ("tpo", 3), ("tpo", 40)])
def test_a_legend_never_lies_over_curves_whose_names_are_many_or_long(tmp_path, algos, count):
    store, among = RunStore(tmp_path), algos != "tpo"
    rates = ",".join(f"{0.001 * (i + 1):g}" for i in range(1 if among else count))
    rows = fill(store, sweep_rows("fig02", store, "quick", (f"algo={algos}", f"optim.lr={rates}")))
    assert len(rows) == count
    picture, _ = error_and_misalignment(rows, "title")
    picture.canvas.draw()
    legends = [axis.get_legend() for axis in picture.axes if axis.get_legend()]
    assert len(legends) == among and len(picture.legends) == (not among)
    for legend in picture.legends:
        box = legend.get_window_extent()
        assert not any(box.overlaps(axis.get_tightbbox()) for axis in picture.axes)
        assert min(axis.get_window_extent().height / picture.dpi for axis in picture.axes) > 1.5
