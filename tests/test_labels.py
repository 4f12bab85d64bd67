"""What runs are called where more than one would have the same name."""

import warnings

from matplotlib import pyplot as plt

from analysis.command import main as analysis
from analysis.curves import save_error_figure
from analysis.labels import label, with_unique_labels
from analysis.load import Row, environment_rows
from analysis.panels import error_panels
from store.runs import RunStore
from tests.helpers import metrics, saved


def row(tmp_path, *overrides: str) -> Row:
    run = saved(tmp_path, metrics(0, 1), *overrides)
    return Row(run.config(), label(run.config()), run)


def test_runs_of_one_label_also_name_the_settings_that_differ(tmp_path):
    for overrides in (["optim.lr=0.1"], ["optim.lr=0.2"], ["optim.lr=0.2", "algo.eta=2"], ["algo=dg", "optim.lr=0.1"]):
        saved(tmp_path, metrics(0, 1), *overrides)
    saved(tmp_path, metrics(0, 1), "algo=pg", "algo.label=Mine", "algo.color='#000000'")
    labels = {row.label for row in environment_rows("sparse_bandit", RunStore(tmp_path / "runs"))}
    assert labels == {"TPO", "TPO (optim.lr=0.2)", "TPO (eta=2, optim.lr=0.2)", "DG", "Mine"}


def test_a_run_of_another_task_or_length_than_most_names_it(tmp_path, capsys):
    for overrides in ([], ["algo=dg"], ["algo=pg", "env.arms=7"], ["algo=grpo", "train.steps=9", "train.epochs=2"]):
        saved(tmp_path, metrics(0, 1), *overrides)
    labels = {row.label for row in environment_rows("sparse_bandit", RunStore(tmp_path / "runs"))}
    assert labels == {"TPO", "DG", "PG (env.arms=7)", "GRPO (2 epochs, train.steps=9)"}
    folders = ("--runs-dir", tmp_path / "runs", "--results", tmp_path, "--out", tmp_path / "out")
    assert analysis(["table", "sparse_bandit", *map(str, folders)]) == 0
    assert "sparse_bandit; unless a row says otherwise: env.arms=100, train.steps=150" in capsys.readouterr().out


def test_a_run_with_the_default_beside_others_without_it_names_it(tmp_path):
    for overrides in (["train.staleness=4"], ["algo=dg", "train.staleness=4"], ["algo=pg"]):
        saved(tmp_path, metrics(0, 1), *overrides)
    labels = {row.label for row in environment_rows("sparse_bandit", RunStore(tmp_path / "runs"))}
    assert labels == {"TPO", "DG", "PG (train.staleness=0)"}


def test_optimisers_have_labels_with_their_name_and_with_settings_that_differ(tmp_path):
    for overrides in (["optim=sgd"], [], ["optim.lr=0.2"]):
        saved(tmp_path, metrics(0, 1), *overrides)
    labels = {row.label for row in environment_rows("sparse_bandit", RunStore(tmp_path / "runs"))}
    assert labels == {"TPO (optim=sgd)", "TPO", "TPO (optim.lr=0.2)"}


def test_long_names_stay_in_the_figure(tmp_path):
    label = "A method whose label is far longer than a column of a page has characters"
    rows = [row(tmp_path, f"algo.label='{label} {i}'", f"algo.eta={i + 1}") for i in range(6)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_error_figure(rows, tmp_path / "curve")
        save_error_figure(rows[:1], tmp_path / "one")
    height, width, _ = plt.imread(tmp_path / "curve.png").shape
    assert height > 1.5 * width  # the legend is below the curves
    height, width, _ = plt.imread(tmp_path / "one.png").shape
    assert height < width


def test_runs_of_one_label_in_different_panels_keep_it(tmp_path):
    task = ["env=dense_reversal", "sampler=token_group"]
    rows = [row(tmp_path, *task, f"env.horizon={horizon}", "model.d_model=8") for horizon in (4, 5)]
    rows.append(row(tmp_path, *task, "env.horizon=5", "model.d_model=16"))
    panels = [{r.config["env"]["horizon"]} for r in rows]
    assert [r.label for r in with_unique_labels(rows, panels=panels)] == [
        "TPO (token)",
        "TPO (token, model.d_model=8)",
        "TPO (token, model.d_model=16)",
    ]
    # a setting that the caption was to say, but that differs, is named all the same
    rows = [rows[0], row(tmp_path, "env=dense_reversal", "env.horizon=4", "model.d_model=8")]
    _, drawn = error_panels(rows, lambda config: [("", "H = 4")], "title", hide=("sampler",))
    assert set(drawn.label) == {"TPO (sampler=token_group)", "TPO (sampler=auto)"}


def test_a_grid_ends_with_labels_and_lines_of_their_own(cli):
    _, out = cli("-m", "algo=tpo", "optim.lr=0.1,0.2", "train.steps=3", "seeds=2")
    assert "TPO (optim.lr=0.1): data" in out and "TPO (optim.lr=0.2): data" in out
