"""Diagnostics against what they must be where it is known by hand."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from algorithms.pg import PG
from algorithms.tpo import TPO
from tests.helpers import experiment
from training.experiment import build
from training.observers import diagnostics
from training.samplers.answers import answer_rollout

RIGHT, WRONG = [1.0, 1.0], [0.0, 0.0]


def rollout(reward):
    """Uniform candidates (1,B,K,2) with these rewards."""
    reward = torch.tensor([reward])
    answers = torch.zeros(reward.shape, dtype=torch.long)
    logp_old = torch.full(reward.shape, math.log(0.5))
    return answer_rollout(answers[:, :, 0], answers, logp_old, reward)


def observed(objective, reward):
    found = rollout(reward)
    logp = found.batch.logp_old.clone().requires_grad_()
    (grad,) = torch.autograd.grad(objective.loss(logp, found.batch)[0].sum(), logp)
    return diagnostics.gradient_diagnostics(found, torch.ones(1), grad)


def test_one_success_in_one_of_two_groups():
    found = observed(TPO(), [[RIGHT, WRONG, WRONG, WRONG], [WRONG] * 4])
    assert found["all_fail_share"] == found["zero_variance_share"] == found["success_share"] == 0.5
    assert_close(found["entropy"], torch.tensor([math.log(2)]))
    u = torch.tensor([3.0, -1, -1, -1]) / math.sqrt(3)
    q = u.softmax(-1)
    assert_close(found["weight_success"], (q[:1] - 0.25))
    assert_close(found["weight_failure"], 3 * (q[1:2] - 0.25) / 7)  # four of the seven failures have no gradient


def test_entropy_counts_every_token_alike():
    found = rollout([[RIGHT, WRONG]])
    logp = torch.tensor([[[[-1.0, 0.0], [-4.0, -4.0]]]])
    batch = replace(found.batch, logp_old=logp, mask=torch.tensor([[[[1.0, 0.0], [1.0, 1.0]]]]))
    found = diagnostics.gradient_diagnostics(replace(found, batch=batch), torch.ones(1), torch.zeros_like(logp))
    assert found["entropy"] == 3  # (1 + 4 + 4) / 3


def test_weights_of_reinforce_are_its_advantages():
    found = observed(PG(), [[RIGHT], [WRONG], [WRONG], [WRONG]])
    assert_close(found["weight_success"], torch.tensor([0.75]))
    assert_close(found["weight_failure"], torch.tensor([-0.25]))


def test_without_a_success_its_weight_is_0():
    found = observed(PG(), [[WRONG], [WRONG]])
    assert found["weight_success"] == found["success_share"] == 0 and found["all_fail_share"] == 1


def test_kl_to_the_rollout_policy():
    found = rollout([[RIGHT, WRONG]])
    assert diagnostics.update_diagnostics(found, found.batch.logp_old)["kl"] == 0
    moved = diagnostics.update_diagnostics(found, found.batch.logp_old + 0.1)["kl"]
    assert moved.item() == pytest.approx(math.exp(0.1) - 1.1, rel=1e-3)


def test_they_are_recorded_and_change_no_curve(tmp_path):
    args = (
        "env=dense_reversal",
        "env.horizon=3",
        "env.batch=8",
        "env.candidates=4",
        "model.d_model=8",
        "train.steps=6",
    )
    plain, watched = (
        build(experiment(tmp_path, *args, f"train.diagnostics={on}"), (0, 1)).run().arrays() for on in ("false", "true")
    )
    assert (plain["error"] == watched["error"]).all() and set(plain) == {"error"}
    assert (watched["kl"] > 0).all() and (watched["entropy"] > 0).all()
    assert watched["all_fail_share"] + watched["success_share"] == pytest.approx(1)
