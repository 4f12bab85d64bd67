"""train.staleness: rollouts of an older policy, whose checkpoints lose nothing."""

import pytest
import torch

from store.identity import run_id
from store.runs import RunStore
from tests.helpers import SMALL, experiment
from training import checkpoint
from training.experiment import build
from training.rollout import Rollout

REVERSAL = ("env=terminal_reversal", *SMALL["terminal_reversal"], "seeds=2", "train.steps=8")
BANDIT = ("env=sparse_bandit", "env.arms=5", "seeds=2", "train.steps=8")


def trained(tmp_path, *overrides, watch=lambda trainer: None):
    exp = experiment(tmp_path, *overrides)
    trainer = build(exp, exp.seeds)
    trainer.run(watch)
    return trainer


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


@pytest.mark.parametrize("algo", ["tpo", "grpo", "ppo", "dg"])
@pytest.mark.parametrize("task", [REVERSAL, BANDIT], ids=["reversal", "bandit"])
def test_rollouts_come_from_the_parameters_of_that_many_updates_ago(tmp_path, monkeypatch, task, algo):
    exp = experiment(tmp_path, *task, f"algo={algo}", "train.staleness=3")
    trainer = build(exp, exp.seeds)
    sampler, seen = trainer.sampler, []

    def spy(env, policy, noise):
        rollout = sampler(env, policy, noise)
        seen.append((rollout, {name: p.clone() for name, p in trainer.policy.state_dict().items()}))
        return rollout

    trainer.sampler = spy
    trainer.run()
    past = [params for _, params in seen]
    assert not same(past[0], past[-1])
    for step, (rollout, _) in enumerate(seen):
        trainer.policy.load_state_dict(past[max(0, step - 3)])
        torch.testing.assert_close(rollout.logp(trainer.policy).detach(), rollout.batch.logp_old)


def test_without_staleness_nothing_is_copied_and_runs_keep_their_name(tmp_path):
    exp = experiment(tmp_path, *REVERSAL)
    trainer = build(exp, exp.seeds)
    assert trainer.behavior.next_rollout_policy() is trainer.policy
    assert trainer.state_dict()["past"] == []
    older = {**exp.config, "train": {k: v for k, v in exp.config["train"].items() if k != "staleness"}}
    assert run_id(older) == run_id(exp.config)
    assert run_id(older) != run_id(experiment(tmp_path, *REVERSAL, "train.staleness=1").config)


def test_a_lag_longer_than_the_run_draws_from_the_first_policy(tmp_path):
    short = trained(tmp_path, *REVERSAL, "train.staleness=8").history.arrays()
    assert same(short, trained(tmp_path, *REVERSAL, "train.staleness=100").history.arrays())
    assert not same(short, trained(tmp_path, *REVERSAL, "train.staleness=1").history.arrays())


@pytest.mark.parametrize("algo", ["tpo", "grpo", "ppo", "dg"])
def test_what_is_spared_on_policy_is_computed_off_it(tmp_path, monkeypatch, algo):
    """Neither micro-batches nor prompts left out may take the old policy's log-probs for the current one's."""
    args = (*REVERSAL, f"algo={algo}", "train.staleness=2", "train.diagnostics=true")
    spared = trained(tmp_path, *args).history.arrays()
    parts = trained(tmp_path, *args, "train.micro_batch=2").history.arrays()
    monkeypatch.setattr(Rollout, "active_rows", lambda rollout, *_: torch.ones_like(rollout.identical))
    whole = trained(tmp_path, *args).history.arrays()
    for found in (spared, parts):
        for name in whole:
            torch.testing.assert_close(torch.tensor(found[name]), torch.tensor(whole[name]), rtol=1e-3, atol=1e-4)
    assert (whole["kl"][3:] > 0).any()


@pytest.mark.parametrize("task", [REVERSAL, BANDIT], ids=["reversal", "bandit"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, task):
    exp = experiment(tmp_path, *task, "train.staleness=3")
    run = RunStore(exp.runs_dir).open(exp.config)

    def save(trainer):
        if trainer.step == 5:
            checkpoint.save(run, trainer, seconds=1.0)

    quiet = build(exp, exp.seeds)
    quiet.run(save)
    resumed = build(exp, exp.seeds)
    assert checkpoint.restore(run, resumed) == 1.0 and resumed.step == 5
    assert same(resumed.run().arrays(), quiet.history.arrays())
    assert same(resumed.policy.state_dict(), quiet.policy.state_dict())


def test_a_negative_lag_is_refused(cli):
    code, out = cli("train.staleness=-1")
    assert code == 2 and "train.staleness=-1: must be >= 0" in out
