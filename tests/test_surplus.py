"""The first-order gain of the expected update: closed forms, brute force, and the bins of figure 4 (b)."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from algorithms.base import log_softmax
from algorithms.dg import DG
from algorithms.group_pg import GroupPG
from algorithms.pg import PG
from algorithms.tpo import TPO
from envs.images import ImageBandit
from tests.helpers import experiment
from training.experiment import build
from training.observers import surplus
from training.samplers import SAMPLERS

N, A = 7, 10
LOGITS = 2 * torch.randn(N, A, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(N)
PI = LOGITS.softmax(-1)
PI_Y = PI[torch.arange(N), LABELS]
AGREE = PI.square().sum(-1)  # the chance that two draws agree: the baseline
SAMPLER_NAMES = {
    PG(): "sampled_actions",
    DG(): "sampled_actions",
    TPO(): "enumerated_actions",
    GroupPG(): "enumerated_actions",
}


def towards(a: int) -> torch.Tensor:
    """First-order gain in pi(y) of a step e_a - pi on the logits."""
    return PI_Y * ((a == LABELS).double() - PI_Y - PI[:, a] + AGREE)


def expected_gain(objective) -> torch.Tensor:
    return surplus.first_order_gain(
        PI, LABELS, surplus.expected_step(objective, SAMPLER_NAMES[objective], LOGITS, LABELS, PI, AGREE)
    )


def closed_pg() -> torch.Tensor:
    return PI_Y.square() * (1 - 2 * PI_Y + AGREE)


def closed_dg() -> torch.Tensor:
    gains = torch.zeros(N, dtype=torch.float64)
    for a in range(A):
        advantage = (a == LABELS).double() - AGREE
        gains += PI[:, a] * (advantage * -PI[:, a].log()).sigmoid() * advantage * towards(a)
    return gains


def closed_tpo() -> torch.Tensor:
    """A draw with a positive score multiplies the odds of its action by lambda, one with a negative by 1 / lambda."""
    gains = torch.zeros(N, dtype=torch.float64)
    for a in range(A):
        right = a == LABELS
        odds = torch.where(right, 1.0, -1.0).double().mul(A / math.sqrt(A - 1)).exp()
        mass = 1 + (odds - 1) * PI[:, a]
        q_y = PI_Y * torch.where(right, odds, 1.0) / mass
        pull = (AGREE + (odds - 1) * PI[:, a].square()) / mass  # sum_c pi(c) q(c)
        gains += PI[:, a] * PI_Y * (q_y - PI_Y - pull + AGREE)
    return gains


@pytest.mark.parametrize(("objective", "closed"), [(PG(), closed_pg), (DG(), closed_dg), (TPO(), closed_tpo)])
def test_expected_gain_is_the_closed_form(objective, closed):
    assert_close(expected_gain(objective), closed(), atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("objective", SAMPLER_NAMES, ids=lambda objective: objective.name)
def test_expected_gain_is_what_a_small_step_gains(tmp_path, objective):
    """Every action in turn, as the samplers lay it out; then the mean step, taken."""
    env = ImageBandit(dataset="digits", batch=1)
    contexts = torch.stack([(env.images.train_labels == label).nonzero()[0] for label in LABELS])  # (N,1)
    mean = torch.zeros_like(LOGITS)
    for a in range(A):
        policy = Fixed(LOGITS, torch.full((N, 1, 1), a))
        rollout = SAMPLERS[SAMPLER_NAMES[objective]](env, policy, Here(contexts))
        loss, _ = objective.loss(rollout.logp(policy), rollout.batch)
        mean -= PI[:, a : a + 1] * torch.autograd.grad(loss.sum(), policy.leaf)[0]
    gained = ((LOGITS + 1e-6 * mean).softmax(-1) - PI)[torch.arange(N), LABELS] / 1e-6
    assert_close(expected_gain(objective), gained, atol=1e-7, rtol=1e-5)


class Fixed:
    """Logits of one context per seed, and the action that will be drawn there."""

    def __init__(self, logits, arms):
        self.leaf, self.arms = logits.clone().requires_grad_(), arms

    def logp(self, contexts, candidates):
        table = log_softmax(self.leaf).unsqueeze(1)
        return (table if candidates is None else table.gather(2, candidates)).unsqueeze(-1)

    def sample(self, contexts, uniforms):
        return self.arms


class Here:
    """Noise that leads to these contexts (S,1)."""

    def __init__(self, contexts):
        self.contexts, self.seeds, self.step = contexts, range(len(contexts)), 1

    def uniform(self, stream, n):
        count = len(ImageBandit(dataset="digits").images.train)
        return ((self.contexts + 0.5) / count).double()


# of the exact one-hot bandit: the step of an update is beta(p) (e_y - pi), or p times that where it is sampled
BETAS = {
    PG(): lambda p: p,
    DG(): lambda p: p / (1 + p),
    TPO(): lambda p: p * p * (math.exp(10 / 3) - 1) / (1 - p + math.exp(10 / 3) * p),
}


@pytest.mark.parametrize("objective", BETAS, ids=lambda objective: objective.name)
def test_surplus_is_the_gain_beyond_one_vs_rest(objective):
    one_vs_rest = 2 * PI_Y * (1 - PI_Y).square() * BETAS[objective](PI_Y)
    found = surplus.surplus_gain(objective, SAMPLER_NAMES[objective], LOGITS, LABELS)
    assert_close(found, expected_gain(objective) - one_vs_rest, atol=1e-12, rtol=1e-9)


def test_two_actions_leave_reinforce_no_surplus():
    logits = torch.tensor([[0.3, -1.0], [-2.0, 0.5]], dtype=torch.float64)
    found = surplus.surplus_gain(PG(), "sampled_actions", logits, torch.tensor([0, 0]))
    assert_close(found, torch.zeros(2).double(), atol=1e-12, rtol=0)


def test_misclassified_contexts_fall_into_bins():
    def logits(*shares):
        rest = (1 - sum(shares)) / (A - len(shares))
        return torch.tensor([*shares, *[rest] * (A - len(shares))]).log()

    # labels 0: concentrations 1/9 of .98 (right anyway), .49, .9, .6
    rows = torch.stack([logits(0.02), logits(0.02, 0.48), logits(0.1, 0.81), logits(0.2, 0.48)])
    wrong, share = surplus.concentration(rows, torch.zeros(4, dtype=torch.long))
    assert wrong.tolist() == [True] * 4
    assert_close(share, torch.tensor([1 / 9, 0.48 / 0.98, 0.9, 0.6]))
    found = surplus.surplus_by_concentration(
        TPO(), "enumerated_actions", rows.unsqueeze(0), torch.zeros(4, dtype=torch.long)
    )
    each = surplus.surplus_gain(TPO(), "enumerated_actions", rows, torch.zeros(4, dtype=torch.long))
    assert_close(torch.cat([found[f"surplus_{i}"] for i in (1, 2, 3, 4)]), each[[0, 1, 3, 2]])
    right = surplus.surplus_by_concentration(
        TPO(), "enumerated_actions", -rows[:1].unsqueeze(0), torch.zeros(1, dtype=torch.long)
    )
    assert all(value.isnan().all() for value in right.values())


def test_recorded_with_the_diagnostics_of_labelled_tasks(tmp_path):
    settings = ("env=digits", "train.steps=20", "train.log_every=10", "train.diagnostics=true", "optim.lr=3e-3")
    runs = {a: build(experiment(tmp_path, *settings, f"algo={a}"), (0, 1)).run().arrays() for a in ("tpo", "grpo")}
    bins = np.stack([runs["tpo"][f"surplus_{i}"] for i in (1, 2, 3, 4)])
    assert bins.shape == (4, 3, 2) and np.isfinite(np.nanmean(bins, axis=0)).all()
    assert "surplus_4" not in runs["grpo"]  # its draws are one group: what one of them teaches depends on the others
