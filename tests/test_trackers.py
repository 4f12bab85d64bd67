"""Weights & Biases and TensorBoard, for real, offline."""

import itertools
import json
import struct
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from wandb.proto import wandb_internal_pb2

from store.runs import RunStore
from store.tracked import scalars
from tests.helpers import experiment
from training.experiment import execute
from training.history import History
from training.stop import Stop, Stopped

BLOCK, FILE_HEADER, HEADER = 32768, 7, struct.Struct("<IHB")  # the LevelDB log format: crc, length, type


def records(path: Path):
    """The records of a .wandb file, which spread over blocks in pieces of type full 1, first 2, middle 3, last 4."""
    raw, at, data = path.read_bytes(), FILE_HEADER, b""
    while at + HEADER.size <= len(raw):
        if BLOCK - at % BLOCK < HEADER.size:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = HEADER.unpack_from(raw, at)
        if at + HEADER.size + length > len(raw):
            return  # it is being written
        data += raw[at + HEADER.size : at + HEADER.size + length]
        at += HEADER.size + length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(data)
            data = b""


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


def logs(folder: Path) -> list[Path]:
    """The files that Weights & Biases wrote to their end, in the order in which they were begun."""
    found = sorted(folder.rglob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
    for log in found:
        exit_of(log)
    return found


def history_of(log: Path) -> list[dict]:
    found = [record.history.item for record in records(log) if record.HasField("history")]
    return [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in row} for row in found]


def header_of(log: Path):
    """The last description of the run in the file."""
    return [record.run for record in records(log) if record.HasField("run")][-1]


def exit_of(log: Path, patience: float = 60) -> int:
    """The exit code in the file, its last record. Weights & Biases may write it some time after `finish`."""
    deadline = time.monotonic() + patience
    while True:
        codes = [record.exit.exit_code for record in records(log) if record.HasField("exit")]
        if codes or time.monotonic() > deadline:
            (code,) = codes
            return code
        time.sleep(0.2)


def test_wandb_holds_config_metrics_and_where_the_run_belongs(cli, tmp_path, offline):
    code, _ = cli("paper=fig02", "scale=quick", "algo=tpo", "tracker=wandb", "algo.eta=2", "seeds=2", "train.steps=3")
    (run,) = RunStore(tmp_path / "runs").runs()
    (log,) = logs(run.path)
    header, history = header_of(log), history_of(log)
    config = {update.key: json.loads(update.value_json) for update in header.config.update}
    assert code == 0
    assert config["algo"]["eta"] == 2
    assert header.run_group == "fig02" and set(header.tags) == {"sparse_bandit", "tpo", "fig02"}
    assert header.run_id.startswith(f"{run.path.name}-0-2-")
    trained = [row for row in history if "error" in row]
    assert [row["_step"] for row in trained] == [1, 2, 3]
    means = run.frame().query("metric == 'error'").groupby("step").value.mean()
    assert [row["error"] for row in trained] == pytest.approx(means.tolist(), abs=1e-6)
    assert all(row["error/low"] <= row["error"] <= row["error/high"] and row["finite_seeds"] == 2 for row in trained)
    assert any("final" in row for row in history) and list(run.path.rglob("final_*.table.json"))


def interrupted_once(tmp_path, tracker):
    """A run that stops after a checkpoint, then goes on; returns its folder."""
    exp = experiment(tmp_path, "seeds=2", "train.steps=6", "train.checkpoint_every=1", f"tracker={tracker}")

    class StopAtThree(Stop):
        due = property(lambda self: next(self.steps) == 3)

    stop = StopAtThree()
    stop.steps = itertools.count(1)
    with pytest.raises(Stopped):
        execute(exp, Console(quiet=True), stop)
    assert execute(exp, Console(quiet=True)).status == "done"
    (run,) = RunStore(exp.runs_dir).runs()
    return run.path


def test_a_resumed_run_is_one_run_in_wandb(tmp_path, offline):
    first, second = logs(interrupted_once(tmp_path, "wandb"))
    assert header_of(first).run_id == header_of(second).run_id
    assert [row["_step"] for log in (first, second) for row in history_of(log) if "error" in row] == [1, 2, 3, 4, 5, 6]


def test_a_resumed_run_is_one_run_in_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (interrupted_once(tmp_path, "tensorboard") / "tensorboard").iterdir()
    found = EventAccumulator(str(folder)).Reload()
    assert [event.step for event in found.Scalars("error")] == [1, 2, 3, 4, 5, 6]
    assert {"error/low", "error/high", "finite_seeds"} <= set(found.Tags()["scalars"])


@dataclass(frozen=True)
class Broken:
    """A tracker that fails where it is told to."""

    where: str
    name = "broken"

    @contextmanager
    def open(self, run):
        if self.where == "open":
            raise OSError("no route to host\nmore lines")

        def log_metrics(history):
            if self.where == "log" and history.recorded_steps["error"] == [1, 2]:
                raise OSError("disk full")

        yield log_metrics
        if self.where == "close":
            raise OSError("bad key")


@pytest.mark.parametrize(("where", "text"), [("open", "no route to host"), ("log", "disk full"), ("close", "bad key")])
def test_a_tracker_that_fails_warns_once_and_stops_nothing(tmp_path, caplog, where, text):
    exp = replace(experiment(tmp_path, "seeds=2", "train.steps=5"), tracker=Broken(where))
    assert execute(exp, Console(quiet=True)).status == "done"
    (run,) = RunStore(exp.runs_dir).runs()
    assert run.seeds_done() == [0, 1]
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"tracker=broken failed ({text});")


def test_a_tracker_learns_that_its_run_failed(tmp_path, monkeypatch, caplog):
    told = []

    @dataclass(frozen=True)
    class Attentive(Broken):
        @contextmanager
        def open(self, run):
            try:
                yield lambda history: None
            except BaseException as error:
                told.append(str(error))
                raise

    def fail(self, noise):
        raise RuntimeError("no more arms")

    monkeypatch.setattr("training.loop.Trainer.rollout", fail)
    exp = replace(experiment(tmp_path, "seeds=1", "train.steps=5"), tracker=Attentive("nowhere"))
    assert execute(exp, Console(quiet=True)).status == "failed"
    assert told == ["no more arms"] and not caplog.records


def test_wandb_is_told_how_a_run_ended(tmp_path, offline, monkeypatch):
    def exit_code(folder: str) -> int:
        exp = experiment(tmp_path / folder, "tracker=wandb", "seeds=1", "train.steps=2")
        execute(exp, Console(quiet=True))
        (log,) = logs(tmp_path / folder)
        return exit_of(log)

    assert exit_code("fine") == 0
    monkeypatch.setattr("training.loop.Trainer.train_step", lambda self: 1 / 0)
    assert exit_code("broken") == 1


def test_the_band_is_that_of_the_finite_seeds():
    history, nan = History(), torch.nan
    history.append(1, {"error": torch.tensor([1.0, 3.0, nan]), "loss": torch.tensor([nan, nan, nan])})
    ((step, values),) = scalars(history, 0)
    assert step == 1 and values["finite_seeds"] == 2 and values["error"] == 2
    assert values["error/low"] == pytest.approx(0) and values["error/high"] == pytest.approx(4)
    assert "loss" not in values


def test_what_was_recorded_after_a_step_comes_in_order():
    history, value = History(), torch.zeros(2)
    history.append(0, {"test_accuracy": value})
    history.append(1, {"error": value + 1})
    history.append(3, {"test_accuracy": value + 2, "error": value + 3})
    assert [(step, sorted(found)) for step, found in history.records_after(-1)] == [
        (0, ["test_accuracy"]),
        (1, ["error"]),
        (3, ["error", "test_accuracy"]),
    ]
    ((step, found),) = history.records_after(1)
    assert step == 3 and found["error"].tolist() == [3, 3] and not history.records_after(3)
