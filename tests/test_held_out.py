"""The table of what language models solve of held-out problems."""

import numpy as np
import pandas as pd
import pytest

from analysis import held_out
from analysis.command import main
from analysis.dots import Dots, last_values
from analysis.load import stored_rows, sweep_rows
from store.runs import RunStore

SEEDS = 6


@pytest.fixture
def rows(tmp_path):
    """TPO and GRPO with one and four epochs; GRPO ends with more right answers, by 0.1."""
    store = RunStore(tmp_path / "runs")
    rows = sweep_rows("lm_sums", store, "paper", ("algo=tpo,grpo", "optim.lr=3e-5", "train.epochs=1,4"))
    for row in rows:
        gain = 0.1 if row.config["algo"]["name"] == "grpo" else 0.0
        lines = [
            {"seed": seed, "step": step, "metric": metric, "value": value}
            for seed in range(SEEDS)
            for step, accuracy in ((0, 0.07), (100, 0.2 + gain + 0.01 * seed))
            for metric, value in (("error", 1 - accuracy), ("test_accuracy", accuracy), ("test_entropy", 0.5))
        ]
        store.open(row.config).save(pd.DataFrame(lines), {"seeds": list(range(SEEDS)), "seconds": 1.0})
    return sweep_rows("lm_sums", store, "paper", ("algo=tpo,grpo", "optim.lr=3e-5", "train.epochs=1,4"))


def test_a_line_has_the_last_evaluation_and_the_settings_that_differ(rows):
    frame = held_out.summary(rows)
    assert list(frame.label) == ["GRPO", "TPO"] * 2 and list(frame.epochs) == [1, 1, 4, 4]
    assert "rate" not in frame and "task" not in frame  # which all share
    assert frame.before.tolist() == pytest.approx([0.07] * 4)
    assert frame.accuracy.tolist() == pytest.approx([0.325, 0.225] * 2)
    assert ((frame.accuracy_low < frame.accuracy) & (frame.accuracy < frame.accuracy_high)).all()
    assert np.isnan(frame.pass_at_k).all() and (frame.k == 1).all() and (frame.seeds == SEEDS).all()


def test_the_text_has_percent_and_says_what_was_not_recorded(rows):
    line = held_out.texts(held_out.summary(rows)).iloc[0]
    assert line["before"] == "7.0" and line["pass@1"].startswith("32.5 [") and line["entropy"] == "0.50"
    assert line["pass@k"] == line["new"] == "-" and line["epochs"] == "1"


def test_few_seeds_have_a_range_and_one_has_none(tmp_path):
    store = RunStore(tmp_path / "runs")
    rows = sweep_rows("lm_sums", store, "paper", ("algo=tpo,grpo", "optim.lr=3e-5", "train.epochs=1"))
    for row, accuracies in zip(rows, ((0.2, 0.3, 0.25), (0.1,)), strict=True):
        values = [{"error": 1 - accuracy, "test_accuracy": accuracy} for accuracy in accuracies]
        lines = [
            {"seed": s, "step": 0, "metric": m, "value": v} for s, each in enumerate(values) for m, v in each.items()
        ]
        store.open(row.config).save(pd.DataFrame(lines), {"seeds": list(range(len(values))), "seconds": 1.0})
    shown = held_out.texts(held_out.summary(stored_rows(store)))
    assert list(shown["pass@1"]) == ["25.0 (20.0 to 30.0)", "10.0"]


def test_another_split_and_fewer_samples_are_shown_too(tmp_path):
    store = RunStore(tmp_path / "runs")
    (row,) = sweep_rows("lm_sums", store, "paper", ("algo=tpo", "optim.lr=3e-5", "train.epochs=1"))
    config = row.config | {"train": row.config["train"] | {"eval_split": "validation"}}
    values = {"error": 0.5, "validation_accuracy": 0.5, "validation_pass_at_1": 0.5, "validation_pass_at_8": 0.75}
    lines = [{"seed": s, "step": 0, "metric": m, "value": v} for s in range(SEEDS) for m, v in values.items()]
    store.open(config).save(pd.DataFrame(lines), {"seeds": list(range(SEEDS)), "seconds": 1.0})
    line = held_out.texts(held_out.summary(stored_rows(store))).iloc[0]
    assert line["pass@1"].startswith("50.0") and line["pass@8"].startswith("75.0")


def test_the_commands_print_it_for_language_models_alone(rows, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["table", "arithmetic"]) == 0
    assert "held-out problems" in capsys.readouterr().out
    assert "| GRPO | 6 | 7.0 | 32.5 [" in (tmp_path / "figures" / "table_arithmetic.md").read_text()
    assert main(["lm_sums"]) == 0
    assert "lm_sums: held-out problems" in capsys.readouterr().out
    assert (tmp_path / "figures" / "lm_sums.md").exists()


def test_runs_without_held_out_problems_have_no_such_table():
    assert held_out.summary([]).empty


def test_dots_are_last_values_from_the_best_method_down(rows):
    one_epoch = [row for row in rows if row.config["train"]["epochs"] == 1]
    panels = Dots("right", "test_accuracy", "%", percent=True), Dots("absent", "test_greedy", "%")
    figure, data = last_values(one_epoch, panels, "title", hide=("train.epochs",))
    (axis,) = figure.axes
    labels = dict(zip(axis.get_yticks(), (text.get_text() for text in axis.get_yticklabels()), strict=True))
    assert labels[0] == "GRPO" and labels[-1] == "TPO" and axis.get_xlim()[0] < 0
    assert data.set_index("label")["mean"].to_dict() == pytest.approx({"GRPO": 32.5, "TPO": 22.5})
    assert data.before.tolist() == pytest.approx([7, 7]) and (data.n == SEEDS).all() and set(data.panel) == {"right"}
    ends = [x for line in axis.lines if len(line.get_xdata()) == SEEDS for x in line.get_xdata()]
    assert len(ends) == 2 * SEEDS and axis.get_xlim()[0] < min(ends) <= max(ends) < axis.get_xlim()[1]
