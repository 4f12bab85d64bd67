"""What a batch holds beyond the rollout: a reference policy's log-probs, and the reward of the greedy answer."""

import pytest
import torch
from torch.testing import assert_close

from store.identity import run_id
from store.runs import RunStore
from tests.helpers import SMALL, experiment, experiment_of
from training import checkpoint
from training.experiment import build

REVERSAL = ("env=dense_reversal", *SMALL["dense_reversal"], "train.steps=4", "seeds=2")


@pytest.mark.parametrize("micro", ["null", "4"])
def test_the_reference_is_the_initial_policy_and_survives_a_checkpoint(tmp_path, micro):
    exp = experiment_of(tmp_path, "grpo_published", *REVERSAL, f"train.micro_batch={micro}")
    run = RunStore(exp.runs_dir).open(exp.config)
    first, quiet = build(exp, exp.seeds), build(exp, exp.seeds)
    quiet.run(lambda trainer: checkpoint.save(run, trainer, 1.0) if trainer.step == 2 else None)
    resumed = build(exp, exp.seeds)
    checkpoint.restore(run, resumed)
    assert resumed.step == 2
    rollout = resumed.rollout(resumed.noise.at_step(3))
    assert_close(rollout.batch.logp_ref, rollout.logp(first.policy).detach())
    assert (rollout.batch.logp_ref != rollout.batch.logp_old).any()
    assert (resumed.run().arrays()["error"] == quiet.history.arrays()["error"]).all()


def test_a_reference_shares_what_never_changes(tmp_path):
    trainer = build(experiment_of(tmp_path, "grpo_published", "env=digits", "train.steps=1"), (0,))
    assert trainer.reference.inputs is trainer.policy.inputs
    assert build(experiment(tmp_path), (0,)).reference is None


def test_runs_from_before_these_settings_keep_their_names(tmp_path):
    now = experiment(tmp_path).config
    before = {**now, "algo": dict(now["algo"]), "train": now["train"] | {"reference": "initial"}}
    del before["algo"]["length_normalize"], before["train"]["staleness"]
    assert run_id(before) == run_id(now)
    assert run_id(now) != run_id(experiment_of(tmp_path, "tpo_length").config)


def test_where_all_actions_are_equally_likely_the_greedy_one_is_drawn_at_random(tmp_path):
    trainer = build(experiment_of(tmp_path, "remax", "env=sparse_bandit", "env.arms=4"), tuple(range(400)))
    baseline = trainer.rollout(trainer.noise.at_step(1)).batch.baseline
    assert baseline.mean().item() == pytest.approx(0.25, abs=0.07)  # three standard errors


@pytest.mark.parametrize("env", ["sparse_bandit", "contextual_bandit", "digits", "dense_reversal"])
def test_remax_is_measured_against_the_likeliest_answer(tmp_path, env):
    exp = experiment_of(tmp_path, "remax", f"env={env}", *SMALL.get(env, ()), "train.steps=3")
    trainer = build(exp, (0, 1))
    trainer.run()
    noise, policy, batch = trainer.noise.at_step(9), trainer.policy, trainer.rollout(trainer.noise.at_step(9)).batch
    contexts = exp.env.contexts(noise)
    if env == "dense_reversal":
        answers, none = torch.zeros(2, 6, 1, 3, dtype=torch.long), torch.zeros(2, 6, 1, 3)
        for t in range(3):
            answers[..., t] = policy.table(contexts, answers)[..., t, :].argmax(-1)
        expected = exp.env.score(contexts, answers) + none
    else:
        likeliest = policy.logp(contexts, None).squeeze(-1).argmax(-1, keepdim=True)
        expected = exp.env.true_reward(contexts, noise.device).expand(*likeliest.shape[:2], -1).gather(-1, likeliest)
        expected = expected.unsqueeze(-1) if env == "contextual_bandit" else expected.view(2, 1, -1, 1)
    assert (batch.baseline == expected).all()
