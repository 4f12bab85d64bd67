"""Weights & Biases, for real, offline."""

import json
import struct
from pathlib import Path

import pytest
import torch
from wandb.proto import wandb_internal_pb2

from store.runs import RunStore
from training.history import History

BLOCK, FILE_HEADER, HEADER = 32768, 7, struct.Struct("<IHB")  # the LevelDB log format: crc, length, type


def records(path: Path):
    """The records of a .wandb file, which spread over blocks in pieces of type full 1, first 2, middle 3, last 4."""
    raw, at, data = path.read_bytes(), FILE_HEADER, b""
    while at + HEADER.size <= len(raw):
        if BLOCK - at % BLOCK < HEADER.size:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = HEADER.unpack_from(raw, at)
        data += raw[at + HEADER.size : at + HEADER.size + length]
        at += HEADER.size + length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(data)
            data = b""


def test_wandb_offline_holds_config_and_metrics(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    code, _ = cli("tracker=wandb", "algo.eta=2", "seeds=2", "train.steps=3")
    (run,) = RunStore(tmp_path / "runs").runs()
    (log,) = run.path.glob("wandb/offline-run-*/*.wandb")
    found = list(records(log))
    config = {u.key: json.loads(u.value_json) for r in found if r.HasField("run") for u in r.run.config.update}
    history = [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in r.history.item}
        for r in found
        if r.HasField("history")
    ]
    assert code == 0
    assert config["algo"]["eta"] == 2
    assert [row["_step"] for row in history] == [1, 2, 3]
    means = run.frame().query("metric == 'error'").groupby("step").value.mean()
    assert [row["error"] for row in history] == pytest.approx(means.tolist(), abs=1e-6)


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
