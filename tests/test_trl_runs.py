"""Experiments of the suite trained with TRL: the same steps, metrics and store as with the suite's own trainer."""

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from torch.testing import assert_close

from conf.messages import ConfigError
from conf.resolve import compose_experiment
from rollouts.base import EngineOutput
from store.runs import RunStore
from tests.helpers import ROOT, text_task
from training.experiment import build

pytestmark = pytest.mark.engines
LR = 1e-3
SMALL = ["env.batch=4", "env.candidates=4", "env.max_new_tokens=24", "model=tiny_qwen3", "model.hidden=32"]
SMALL += ["model.mlp=64", "model.layers=2", "model.warm_accuracy=0", "model.dtype=float32", "train.steps=2"]
SMALL += ["train.eval_problems=4", f"optim.lr={LR}", "seeds=1", "device=cpu"]


@pytest.fixture
def small(tmp_path):
    return [*text_task(tmp_path), *SMALL, f"runs_dir={tmp_path}/runs"]


@dataclass
class Replay:
    """An engine that returns completions which were drawn before, one rollout after the other."""

    rollouts: list
    stops: list

    def push(self, model):
        pass

    def generate(self, prompts, k, uniforms):
        tokens, logp, truncated = self.rollouts.pop(0)
        lengths = (tokens >= 0).sum(1)
        return EngineOutput(tokens.clamp_min(0), lengths, truncated, logp)


@pytest.mark.parametrize(
    "settings",
    [
        ["algo=tpo"],
        ["algo=tpo", "train.micro_batch=2"],
        ["algo=grpo", "train.epochs=2", "train.micro_batch=8", "optim.warmup_steps=3"],
        ["algo=gspo", "train.kl_beta=0.1"],
        ["algo=ppo", "model.lora_rank=2", "train.kl_beta=0.1"],
        ["algo=tpo", "model.gradient_checkpointing=true", "train.eval_every=1"],
    ],
    ids=lambda settings: " ".join(settings),
)
def test_it_takes_the_steps_of_the_suites_own_trainer(small, settings):
    common = [*small, *settings]
    theirs = build(compose_experiment([*common, "engine=trl"]), (0,))
    drawn = []
    record = theirs.on_rollout

    def keep(rollout, metrics):
        rows = rollout.logp.__closure__  # the tokens that the rollout was made of
        tokens = next(cell.cell_contents for cell in rows if torch.is_tensor(cell.cell_contents))
        drawn.append((tokens.flatten(0, 2), rollout.batch.logp_old.flatten(0, 2), torch.zeros(16, dtype=torch.bool)))
        record(rollout, metrics)

    theirs.on_rollout = keep
    before = {name: p.detach().clone() for name, p in theirs.policy.state_dict().items()}
    theirs.run()
    ours = build(compose_experiment(common), (0,))
    ours.policy.engine = Replay(drawn, ours.policy.engine.stops)
    ours.observers.observers = ours.observers.observers[:2]  # held-out answers are not those that are replayed
    ours.run()
    assert any(not torch.equal(before[name], p) for name, p in theirs.policy.state_dict().items())
    for name, p in ours.policy.state_dict().items():
        # Adam divides by the size of the gradient, so where that is next to 0 its rounding shows
        difference = (theirs.policy.state_dict()[name] - p).abs() / LR
        assert difference.max() < 0.05 and difference.mean() < 1e-3, name
    assert ours.history.values.keys() <= theirs.history.values.keys()
    for name in ("error", "entropy", "length", "group_size", "loss"):
        if name in ours.history.values:
            assert_close(torch.stack(theirs.history.values[name]), torch.stack(ours.history.values[name]))


def test_completions_are_drawn_from_all_tokens_whatever_the_model_says(small):
    rewards = []
    for settings in ({}, {"min_p": 0.9, "suppress_tokens": [*range(60)]}):
        trainer = build(compose_experiment([*small, "algo=tpo", "engine=trl", "train.steps=1"]), (0,))
        own = trainer.policy.causal_lm.generation_config
        own.update(**settings)
        before = own.to_dict()
        rewards.append(trainer.run().values["reward"])
        assert trainer.policy.causal_lm.generation_config is own and own.to_dict() == before
    assert rewards[0] == rewards[1]


def train(small, *settings, launch=()):
    command = [sys.executable, *launch, "run.py", *small, "algo=tpo", "engine=trl", *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def stored(tmp_path):
    (run,) = RunStore(tmp_path / "runs").runs()
    return run


def test_a_run_is_stored_as_any_other(small, tmp_path):
    done = train(small)
    assert done.returncode == 0, done.stdout + done.stderr
    run = stored(tmp_path)
    frame = run.frame()
    assert {"error", "solved", "loss", "test_accuracy", "update_tokens_per_second"} <= set(frame.metric)
    assert sorted(frame[frame.metric == "error"].step) == [1, 2]
    assert run.manifest()["batches"][0]["engine"] == "trl" and run.config().get("engine") is None
    assert (run.path / "policy" / "seed_0" / "config.json").exists()
    again = train(small, "engine=suite")
    assert "1 of 1 seeds done already" in again.stdout


def test_two_processes_train_one_run(small, tmp_path):
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = train(small, "train.micro_batch=2", launch=launch)
    assert done.returncode == 0, done.stdout + done.stderr
    frame = stored(tmp_path).frame()
    assert sorted(frame[frame.metric == "error"].step) == [1, 2]


def test_it_goes_on_from_a_checkpoint(small):
    whole = build(compose_experiment([*small, "algo=tpo", "engine=trl"]), (0,))
    states = []
    whole.run(lambda trainer: states.append(copied(trainer.state_dict())))
    resumed = build(compose_experiment([*small, "algo=tpo", "engine=trl"]), (0,))
    resumed.load_state_dict(states[0])
    resumed.run()
    for name, value in whole.history.values.items():
        if "per_second" not in name:
            assert_close(torch.stack(resumed.history.values[name]), torch.stack(value), equal_nan=True)
    for name, p in whole.policy.state_dict().items():
        assert torch.equal(resumed.policy.state_dict()[name], p), name


def copied(state):
    if torch.is_tensor(state):
        return state.clone()
    if isinstance(state, dict):
        return {key: copied(value) for key, value in state.items()}
    return [copied(value) for value in state] if isinstance(state, list) else state


def test_a_seed_that_turns_non_finite_is_frozen(small):
    settings = [*small, "algo=tpo", "engine=trl", "optim.lr=1e30", "train.steps=4"]
    trainer = build(compose_experiment(settings), (0,))
    history = trainer.run()
    assert list(trainer.frozen_seeds()) == [0] and 1 < trainer.frozen_seeds()[0] <= 4
    assert history.recorded_steps["error"] == [1, 2, 3, 4] and history.values["error"][-1].isnan().all()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["algo=remax"], "engine=trl: objective=remax: needs greedy"),
        (["algo=ppo", "env.candidates=1"], "engine=trl: env.candidates=1 is no group"),
        (["train.staleness=2"], "engine=trl: train.staleness=2"),
        (["train.diagnostics=true"], "engine=trl: train.diagnostics=true"),
        (["train.micro_batch=5"], "engine=trl: train.micro_batch=5 does not divide the 16 completions"),
        (["engine=verl"], "engine=verl: unknown choice"),
    ],
)
def test_what_it_cannot_do_is_refused_before_work(small, settings, text):
    with pytest.raises(ConfigError, match=text):
        compose_experiment([*small, "engine=trl", *settings])


def test_a_task_without_a_language_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="engine=trl: env=sparse_bandit is no task for language models"):
        compose_experiment(["engine=trl", f"runs_dir={tmp_path}"])


def test_a_sharded_model_is_refused(small, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match=r"engine=trl: does not shard the model \(FSDP\); use engines.trl"):
        compose_experiment([*small, "engine=trl"])
