"""A run killed with -9 and started again gives the table of a quiet run, bit for bit on the CPU."""

import io
import os
import signal
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from store.runs import RunStore
from tests.helpers import experiment
from tests.processes import finish, start, wait_for_checkpoint
from training import checkpoint
from training.experiment import build, execute

ARGS = ("env=terminal_reversal", "env.horizon=3", "env.batch=8", "model.d_model=8", "model.layers=1", "seeds=4")
ARGS += ("train.steps=60", "train.checkpoint_every=5", "train.seed_block=2")
HALF = ("env=contextual_bandit", "train.steps=20", "train.log_every=3")


def test_killed_interrupted_and_resumed_equals_quiet(tmp_path):
    quiet = start(tmp_path / "quiet", "whole", ARGS)
    killed, _ = start(tmp_path / "killed", "first", ARGS)
    first = wait_for_checkpoint(tmp_path / "killed")
    killed.kill()
    killed.join()
    interrupted, log = start(tmp_path / "killed", "second", ARGS)
    wait_for_checkpoint(tmp_path / "killed", newer_than=first)
    os.kill(interrupted.pid, signal.SIGINT)
    assert "the same command goes on from here" in finish(interrupted, log, code=130)
    assert "resumed at step" in finish(*start(tmp_path / "killed", "third", ARGS))
    finish(*quiet)
    (a,), (b,) = RunStore(tmp_path / "quiet").runs(), RunStore(tmp_path / "killed").runs()
    assert a.frame().equals(b.frame())
    assert not any(path.exists() for path in b.checkpoints)


def test_more_seeds_go_on_from_the_checkpoint_of_the_others(half_done, tmp_path):
    exp, _, run = half_done
    said = io.StringIO()
    outcome = execute(replace(exp, seeds=tuple(range(5))), Console(file=said, width=200))
    assert outcome.status == "done" and "seeds 0 to 2" not in said.getvalue().split("resumed at step 10")[0]
    assert "resumed at step 10" in said.getvalue() and run.seeds_done() == [0, 1, 2, 3, 4]
    quiet = execute(experiment(tmp_path / "quiet", *HALF, "seeds=5"), Console(quiet=True))
    of_seed = [r.frame().query("seed < 3").reset_index(drop=True) for r in (run, quiet.run)]
    assert of_seed[0].equals(of_seed[1])


@pytest.fixture
def half_done(tmp_path):
    """An experiment, its metrics, and a run with checkpoints at steps 5 and 10 of 20."""
    exp = experiment(tmp_path, *HALF, "seeds=3")
    trainer, run = build(exp, exp.seeds), RunStore(exp.runs_dir).open(exp.config)

    def save(t):
        if t.step in (5, 10):
            checkpoint.save(run, t, seconds=t.step / 2)

    return exp, trainer.run(save).arrays(), run


def test_a_checkpoint_continues_the_same_curve(half_done):
    exp, expected, run = half_done
    trainer = build(exp, exp.seeds)
    assert checkpoint.restore(run, trainer) == 5
    assert trainer.step == 10
    assert {k: v.tolist() for k, v in trainer.run().arrays().items()} == {k: v.tolist() for k, v in expected.items()}


def test_a_checkpoint_of_other_seeds_is_left_alone(half_done):
    exp, _, run = half_done
    trainer = build(exp, (5, 6, 7))
    assert checkpoint.restore(run, trainer) == 0
    assert trainer.step == 0


def test_a_checkpoint_of_another_configuration_is_named(half_done, tmp_path, caplog):
    exp, _, run = half_done
    other = experiment(tmp_path, "env=contextual_bandit", "seeds=3", "train.steps=20", "algo=dg")
    theirs = RunStore(exp.runs_dir).open(other.config)
    theirs.checkpoints[0].write_bytes(run.checkpoints[0].read_bytes())
    trainer = build(other, other.seeds)
    assert checkpoint.restore(theirs, trainer) == trainer.step == 0
    assert f"another configuration, run {run.path.name}" in caplog.text


def test_a_checkpoint_of_another_version_is_named_and_left_alone(half_done, monkeypatch, caplog):
    exp, _, run = half_done
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
    trainer = build(exp, exp.seeds)
    assert checkpoint.restore(run, trainer) == trainer.step == 0
    assert "written by another version" in caplog.text and str(run.checkpoints[0]) in caplog.text


def test_a_checkpoint_that_began_from_other_weights_is_named_and_left_alone(half_done, caplog):
    exp, _, run = half_done
    begun = build(exp, exp.seeds)
    begun.run(lambda t: checkpoint.save(run, t, 1.0, "1a2b") if t.step in (2, 4) else None)
    trainer = build(exp, exp.seeds)
    assert checkpoint.restore(run, trainer, "3c4d") == trainer.step == 0
    assert "the files of the model have changed since" in caplog.text
    assert checkpoint.restore(run, trainer, "1a2b") == 1.0 and trainer.step == 4


@pytest.mark.parametrize("size", [0, 10, 1000])
def test_a_truncated_checkpoint_falls_back_to_the_one_before_and_says_so(half_done, caplog, size):
    exp, expected, run = half_done
    newest, before = run.checkpoints
    newest.write_bytes(newest.read_bytes()[:size])
    trainer = build(exp, exp.seeds)
    assert checkpoint.restore(run, trainer) == 2.5
    assert trainer.step == 5 and str(newest) in caplog.text
    assert {k: v.tolist() for k, v in trainer.run().arrays().items()} == {k: v.tolist() for k, v in expected.items()}
    before.write_bytes(before.read_bytes()[:size])
    trainer = build(exp, exp.seeds)
    assert checkpoint.restore(run, trainer) == trainer.step == 0
    assert torch.equal(trainer.policy.logits, build(exp, exp.seeds).policy.logits)
    assert str(before) in caplog.text
