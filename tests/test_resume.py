"""A run killed with -9 and started again gives the table of a quiet run, bit for bit on the CPU."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from store.runs import RunStore
from tests.helpers import ROOT, experiment
from training import checkpoint
from training.experiment import build

ARGS = ["env=contextual_bandit", "env.num_contexts=20", "seeds=4", "train.steps=3000", "train.checkpoint_every=100"]


def start(folder: Path) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "run.py"), *ARGS, f"runs_dir={folder}"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_checkpoint(folder: Path, newer_than: float = 0.0) -> float:
    """Modification time of the first checkpoint that is newer."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in folder.glob("*/*/*/checkpoint.pt"):
            if path.stat().st_mtime > newer_than:
                return path.stat().st_mtime
        time.sleep(0.01)
    raise AssertionError("no checkpoint within a minute")


def test_killed_interrupted_and_resumed_equals_quiet(tmp_path):
    quiet = start(tmp_path / "quiet")
    killed = start(tmp_path / "killed")
    first = wait_for_checkpoint(tmp_path / "killed")
    killed.kill()
    assert killed.wait() == -9
    interrupted = start(tmp_path / "killed")
    wait_for_checkpoint(tmp_path / "killed", newer_than=first)
    interrupted.send_signal(signal.SIGINT)
    out, _ = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130 and "the same command goes on from here" in out
    quiet_out, _ = quiet.communicate(timeout=120)
    resumed = start(tmp_path / "killed")
    resumed_out, _ = resumed.communicate(timeout=120)
    assert quiet.returncode == resumed.returncode == 0, quiet_out + resumed_out
    assert "resumed at step" in resumed_out
    (a,), (b,) = RunStore(tmp_path / "quiet").runs(), RunStore(tmp_path / "killed").runs()
    assert a.frame().equals(b.frame())
    assert not b.checkpoint.exists()


@pytest.fixture
def half_done(tmp_path):
    """An experiment, and the checkpoint of its first half."""
    exp = experiment(tmp_path, "env=contextual_bandit", "seeds=3", "train.steps=20", "train.log_every=3")
    trainer = build(exp, exp.seeds)

    def save(t):
        if t.step == 10:
            checkpoint.save(tmp_path / "checkpoint.pt", t, seconds=1.5)

    return exp, trainer.run(save).arrays(), tmp_path / "checkpoint.pt"


def test_a_checkpoint_continues_the_same_curve(half_done):
    exp, expected, path = half_done
    trainer = build(exp, exp.seeds)
    assert checkpoint.restore(path, trainer) == 1.5
    assert trainer.step == 10
    assert {k: v.tolist() for k, v in trainer.run().arrays().items()} == {k: v.tolist() for k, v in expected.items()}


def test_a_checkpoint_of_other_seeds_is_left_alone(half_done):
    exp, _, path = half_done
    trainer = build(exp, (5, 6, 7))
    assert checkpoint.restore(path, trainer) == 0
    assert trainer.step == 0


@pytest.mark.parametrize("size", [0, 10, 1000])
def test_a_truncated_checkpoint_starts_over_and_says_so(half_done, caplog, size):
    exp, _, path = half_done
    path.write_bytes(path.read_bytes()[:size])
    trainer = build(exp, exp.seeds)
    assert checkpoint.restore(path, trainer) == 0
    assert trainer.step == 0 and torch.equal(trainer.policy.logits, build(exp, exp.seeds).policy.logits)
    assert "checkpoint.pt" in caplog.text
