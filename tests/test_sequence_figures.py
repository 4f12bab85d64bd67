"""Figures and tables of the sequence tasks: grids at both scales, panels, and ours beside the paper's numbers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import catalogue, stats, style
from analysis.command import main
from analysis.compare import compare, grid, markdown
from analysis.compose import sweep_names
from analysis.labels import label
from analysis.load import Row, other_runs_on_their_tasks, sweep_rows
from analysis.paper import TABLES
from envs import datasets, images
from models import pretrained
from store.runs import RunStore
from tests.helpers import experiment, objective

FIGURES = ("fig05", "fig06", "fig07", "fig08", "fig16", "fig17")
METRIC_FIGURES = ("fig01", "fig04", "fig10", "fig11", "fig13", "fig14", "length")
SETTING_FIGURES = {"fig12": ("env", "candidates"), "fig15": ("train", "epochs")}
METRICS = ("error", "grad_norm", "weight_success", "weight_failure", "all_fail_share", "success_share")
METRICS += ("reward", "test_accuracy", "test_greedy", "test_pass_at_16", "group_size", "entropy", "test_entropy")
METRICS += tuple(f"surplus_{i}" for i in (1, 2, 3, 4))
TINY = ("train.steps=3", "seeds=2", "env.horizon=3", "env.batch=8")


def fill(store: RunStore, rows: list[Row], steps: int = 30) -> list[Row]:
    """The rows after a run of two seeds all of whose metrics halve every third episode."""
    step, seed = np.tile(np.arange(1, steps + 1), 2), np.repeat([0, 1], steps)
    values = {"seed": seed, "step": step, "value": 0.5 ** (step / 3)}
    frame = pd.concat([pd.DataFrame(values | {"metric": name}) for name in METRICS])
    rows = [
        replace(row, config=row.config | {"compares": objective(row.config["algo"]["name"]).sampler}) for row in rows
    ]
    for row in rows:
        store.open(row.config).save(frame, {"seeds": [0, 1], "seconds": 0.0})
    return rows


def rows_of(figure: str, store: RunStore, scale: str = "quick") -> list[Row]:
    return catalogue.rows(figure, store, scale)


@pytest.mark.parametrize("sweep", sweep_names())
def test_a_sweep_asks_for_runs_once_and_its_commands_resolve_to_them(tmp_path, monkeypatch, sweep):
    monkeypatch.setattr(images, "load", lambda dataset, data_dir: datasets.load("digits", None))
    monkeypatch.setattr(pretrained, "MADE_BY", {})  # as if it had been made
    store = RunStore(tmp_path / "runs")
    cost = {}
    for scale in ("paper", "quick"):
        rows = sweep_rows(sweep, store, scale)
        cost[scale] = sum(len(row.only) * row.config["train"]["steps"] for row in rows)
        assert len({row.run.path for row in rows}) == len(rows)
        if scale == "paper":
            last = rows[-1]  # the last values of all axes, over the defaults of each
    resolved = experiment(tmp_path, *last.command.split()[2:])
    assert store.find(resolved.config).path == last.run.path and resolved.seeds == last.only
    assert cost["quick"] <= cost["paper"] / 5


def test_scale_is_not_part_of_a_run(tmp_path):
    quick = experiment(tmp_path, "paper=fig07", "scale=quick")
    same = experiment(tmp_path, "paper=fig07", "train.steps=300")
    assert not {"scale", "scales"} & set(quick.config)
    assert RunStore(tmp_path).find(quick.config) == RunStore(tmp_path).find(same.config)


def test_a_wrong_scale_is_refused(cli):
    for args in (["paper=fig07", "scale=quik"], ["scale=quik"]):
        code, out = cli(*args)
        assert code == 2
        assert "did you mean quick?" in out and "allowed: paper, quick" in out


@pytest.mark.parametrize("figure", FIGURES)
def test_figure_draws_every_row_in_its_panel(tmp_path, figure):
    store = RunStore(tmp_path)
    rows = fill(store, rows_of(figure, store), steps=6)
    picture, drawn = catalogue.module(figure).draw(rows)
    names = [text.get_text() for text in picture.legends[0].get_texts()]
    assert set(names) == set(drawn.label)
    panels = drawn.drop_duplicates(["label", "row", "column"])
    assert len(panels) >= len(rows)
    lines = [line for axis in picture.axes for line in axis.get_lines() if not line.get_label().startswith("_")]
    assert len(lines) == len(panels)
    assert (drawn.n == 2).all()
    looks = {(line.get_color(), line.get_linestyle()) for line in lines}
    assert len(looks) == len(names)


@pytest.mark.parametrize("figure", METRIC_FIGURES)
def test_metric_figure_draws_every_row_that_has_the_metric(tmp_path, figure):
    store = RunStore(tmp_path)
    rows = fill(store, rows_of(figure, store), steps=6)
    picture, drawn = catalogue.module(figure).draw(rows)
    assert set(drawn.label) == {row.label for row in rows}
    for axis in picture.axes:
        assert axis.get_title() and axis.get_xlabel() and axis.get_ylabel()
    lines = {line.get_label() for axis in picture.axes for line in axis.get_lines()}
    assert {row.label for row in rows} <= lines
    style.save(picture, tmp_path / "figure")
    assert (tmp_path / "figure.pdf").stat().st_size > 1000


@pytest.mark.parametrize(("figure", "setting"), SETTING_FIGURES.items())
def test_setting_figure_has_a_line_per_algorithm_over_the_setting(tmp_path, figure, setting):
    store, (section, key) = RunStore(tmp_path), setting
    rows = fill(store, rows_of(figure, store))
    _, drawn = catalogue.module(figure).draw(rows)
    found = {(row.config["algo"]["label"], row.config[section][key]) for row in rows}
    assert {(line.label, line.setting) for line in drawn.itertuples()} == found and len(found) == 6
    assert drawn["mean"].to_numpy() == pytest.approx(100 * 0.5**10)


@pytest.mark.parametrize(("scale", "metrics"), [("paper", [2, 4]), ("quick", [1, 0])])
def test_language_models_are_drawn_by_model_and_task(tmp_path, scale, metrics):
    store = RunStore(tmp_path)
    _, drawn = catalogue.module("fig09").draw(fill(store, rows_of("fig09", store, scale)))
    panels = drawn.groupby(["model", "task"])
    assert all(set(labels) == {"TPO", "GRPO"} for labels in panels.label.unique())
    assert all(found.metric.nunique() == 1 for _, found in panels)
    found = panels.metric.first()
    assert [(found == name).sum() for name in ("test_accuracy", "reward")] == metrics


def test_surplus_is_read_at_step_2000_over_the_seeds_that_have_it(tmp_path):
    store = RunStore(tmp_path)
    (row, *_) = fill(store, rows_of("fig04", store)[:1])
    steps = [200, 2000, 2200]
    values = {"seed": np.repeat([0, 1], 3), "step": steps * 2, "value": [1, 2, 3, 4, np.nan, 6]}
    frames = [pd.DataFrame(values | {"metric": name}) for name in ("error", "surplus_1", "surplus_2", "surplus_3")]
    frames.append(pd.DataFrame(values | {"metric": "surplus_4"}).assign(value=[1, 2, 3, 4, 8, 6]))
    row.run.save(pd.concat(frames), {"seconds": 0.0})
    _, drawn = catalogue.module("fig04").draw([replace(row, only=None)])
    found = drawn[drawn.metric == "surplus"].set_index("bin")
    assert (found.step == 2000).all() and found["mean"].tolist() == [2, 2, 2, 5] and found.n.tolist() == [1, 1, 1, 2]


def test_group_methods_appear_under_both_matchings(tmp_path):
    store = RunStore(tmp_path)
    _, drawn = catalogue.module("fig07").draw(fill(store, rows_of("fig07", store)))
    found = drawn.groupby(["row", "column"]).label.unique()
    assert all(set(labels) == {"TPO", "GRPO", "GRPO (no KL)", "PPO", "DG"} for labels in found)
    assert len(found) == 4


def test_another_figures_runs_are_not_drawn_beside(tmp_path):
    store = RunStore(tmp_path)
    fill(store, rows_of("fig07", store))
    rows = rows_of("fig08", store)
    assert other_runs_on_their_tasks(rows, store) == []
    changed = experiment(tmp_path, *rows[0].command.split()[2:], "algo.eta=2").config
    ours = Row(changed, label(changed), store.find(changed))
    fill(store, [ours])
    assert [row.label for row in other_runs_on_their_tasks(rows, store)] == ["TPO (eta=2)"]


@pytest.mark.parametrize("table", ["table1", "table2", "table3", "table5"])
def test_table_sets_ours_beside_the_paper(tmp_path, table):
    store = RunStore(tmp_path)
    rows = rows_of(TABLES[table].figure, store, "paper")
    missing = [row for row in rows if row.config["algo"]["name"] == "dg" or row.config["algo"].get("eta") == 4]
    frame = compare(table, fill(store, [row for row in rows if row not in missing]) + missing)
    dg = (frame.algo == "dg") | (frame.eta == 4 if "eta" in frame else False)
    assert (frame[dg].shown == "not run").all() and dg.any()
    arrivals = r"20 \[-\] n=2"  # 2 ** (-19 / 3) > 0.01 > 2 ** (-20 / 3)
    finals = r"0\.1 \[-\] n=2, last tenth 0\.1"  # 2 ** (-29 / 3) is their mean
    expected = {"table1": arrivals, "table2": arrivals, "table3": finals, "table5": f"{arrivals}|{finals}"}[table]
    assert frame[~dg].shown.str.fullmatch(expected).all()
    assert len(frame) == {"table1": 16, "table2": 64, "table3": 40, "table5": 10}[table]
    text = markdown(table, frame)
    assert "not run<br>paper" in text and ("paper -" in text) == (table in ("table2", "table3"))


def test_table_knows_the_papers_cells(tmp_path):
    rows = rows_of("fig07", RunStore(tmp_path))
    frame = compare("table3", rows).set_index(["match", "algo", "horizon"])
    assert frame.loc[("interactions", "tpo", 10)].paper == 19.0
    assert frame.loc[("prompts", "ppo", 10)].paper_shown == "-"
    assert frame.loc[("prompts", "ppo", 10)].shown == frame.loc[("prompts", "ppo", 4)].shown == "not run"
    assert grid("table3", frame.reset_index())["heads"][2:] == [f"H {h}" for h in (4, 5, 7, 8, 9, 10)]


def test_a_group_that_has_not_run_has_run_under_neither_matching(tmp_path):
    frame = compare("table2", rows_of("fig06", RunStore(tmp_path), "paper")).set_index("match")
    assert len(frame.loc["interactions"]) == len(frame.loc["prompts"]) and (frame.shown == "not run").all()


def test_a_figure_shows_the_shorter_runs_that_its_table_counts(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    store = RunStore(tmp_path / "runs")
    row = rows_of("fig06", store, "paper")[0]
    fill(store, [replace(row, config=row.config | {"train": row.config["train"] | {"steps": 30}})])
    assert main(["fig06"]) == 0
    assert pd.read_csv(tmp_path / "figures" / "fig06.csv").step.max() == 30


def test_missing_runs_name_the_command_of_their_own_sweep(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["table1", "--scale", "quick"]) == 1
    out = capsys.readouterr().out
    assert "python run.py paper=fig05 scale=quick && python run.py paper=fig05_single scale=quick" in out
    assert "not run" in (tmp_path / "figures" / "table1_quick.md").read_text()
    store = RunStore(tmp_path / "runs")
    fill(store, sweep_rows("fig05", store, "quick"))
    assert main(["fig05", "table1", "--scale", "quick"]) == 0
    out = capsys.readouterr().out
    assert "PPO has 0 of 3 seeds; run: python run.py paper=fig05_single scale=quick algo=ppo" in out
    assert "TPO (token) has 2 of 3 seeds; run: python run.py paper=fig05 scale=quick" in out
    for name in ("fig05_quick.png", "fig05_quick.pdf", "fig05_quick.csv", "table1_quick.csv", "table1_quick.md"):
        assert (tmp_path / "figures" / name).stat().st_size > 100


def test_a_sweep_trains_what_the_figure_draws(cli, tmp_path):
    code, _ = cli("paper=fig07_interactions", "scale=quick", "algo=ppo", *TINY)
    assert code == 0
    store = RunStore(tmp_path / "runs")
    (run,) = store.runs()
    _, drawn = catalogue.module("fig07").draw([Row(run.config(), label(run.config()), run)])
    assert set(drawn.label) == {"PPO"} and set(drawn.row) == {"interaction-matched"} and set(drawn.column) == {"H = 3"}
    assert list(drawn.step) == [1, 2, 3]


def test_arrival_of_noisy_seeds_lies_in_its_interval():
    steps, rng = np.arange(1, 301), np.random.default_rng(0)
    errors = np.exp(-steps[:, None] / rng.uniform(20, 40, size=12))
    value, low, high = stats.first_step(steps, errors, 0.01)
    assert low < value < high < np.inf
    assert value == stats.steps_to(steps, errors.mean(1), 0.01)
    assert stats.first_step(steps, errors, 0.01) == (value, low, high)  # seeded


def test_arrival_is_censored_where_a_bad_seed_decides():
    steps = np.arange(1, 101)
    fast = np.exp(-steps / 10)
    errors = np.stack([fast] * 9 + [np.full(100, 0.09)], axis=1)
    value, low, high = stats.first_step(steps, errors, 0.01)  # one bad seed of ten weighs 0.009: it arrives late
    assert np.isfinite(value) and np.isfinite(low) and high == np.inf
    never = stats.first_step(steps, np.full((100, 5), 0.5), 0.01)
    assert never == (np.inf, np.inf, np.inf)


def test_arrival_without_an_interval():
    steps = np.array([1, 2, 3])
    value, low, high = stats.first_step(steps, np.array([[0.5], [0.005], [0.005]]), 0.01)
    assert value == 2 and np.isnan(low) and np.isnan(high)
    assert stats.first_step(steps, np.empty((3, 0)), 0.01)[0] == np.inf
