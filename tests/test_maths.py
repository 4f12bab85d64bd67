"""What the papers state about the losses, against autograd."""

import math

import pytest
import torch
from torch.testing import assert_close

from algorithms.base import Batch, bessel_correction, scored_completions, standardize
from algorithms.ce import CE
from algorithms.dapo import DAPO
from algorithms.dg import DG
from algorithms.dr_grpo import DrGRPO
from algorithms.group_pg import GroupPG
from algorithms.grpo import GRPO
from algorithms.maxrl import MaxRL
from algorithms.pg import PG
from algorithms.ppo import PPO
from algorithms.rloo import RLOO
from algorithms.tpo import TPO
from algorithms.tpo_ratio import TPORatio
from tests.helpers import change, gradient, random_batch


def exact_batch(pi: torch.Tensor) -> Batch:
    """One context, all actions listed, the first pays."""
    reward = torch.zeros_like(pi)
    reward[..., 0] = 1
    one = torch.ones(1, dtype=pi.dtype)
    return Batch(pi.log().unsqueeze(-1), reward.unsqueeze(-1), 0 * one, one, reward, pi)


def beta(objective, p: float, arms: int) -> float:
    """The factor of (e_y - pi) in the negative gradient on the logits, which must have that direction."""
    logits = torch.zeros(1, arms, dtype=torch.float64)
    logits[0, 0] = math.log(p / (1 - p) * (arms - 1))
    logits.requires_grad_()
    logp = logits.log_softmax(-1)
    loss, _ = objective.loss(logp.unsqueeze(-1), exact_batch(logp.detach().exp()))
    (grad,) = torch.autograd.grad(loss, logits)
    direction = -logp.detach().exp()
    direction[0, 0] += 1
    factor = (-grad / direction)[0, 0].item()
    assert_close(-grad, factor * direction)
    return factor


def odds_factor(k: int) -> float:
    return math.exp(k / math.sqrt(k - 1))


CLOSED_FORMS = {
    "pg": (PG(), lambda p, k: p),
    "dg": (DG(), lambda p, k: p / (1 + p)),
    "grpo": (GRPO(), lambda p, k: math.sqrt(p / (1 - p))),
    "tpo": (TPO(), lambda p, k: p * (odds_factor(k) - 1) / (1 - p + odds_factor(k) * p)),
    "ce": (CE(), lambda p, k: 1.0),
    "rloo": (RLOO(), lambda p, k: p * (k / (k - 1) if p == 1 / k else 1)),  # equal weights pass for draws
    "dr_grpo": (DrGRPO(), lambda p, k: p),
    "dapo": (DAPO(), lambda p, k: math.sqrt(p / (1 - p))),
    "maxrl": (MaxRL(), lambda p, k: p / (p + 1e-6)),  # of infinitely many draws
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("arms", [2, 10])
def test_closed_form_of_the_exact_bandit(name, p, arms):
    objective, form = CLOSED_FORMS[name]
    assert beta(objective, p, arms) == pytest.approx(form(p, arms), rel=1e-5)


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
def test_tpo_gradient_is_p_minus_q(eta):
    logp, batch = random_batch(3, 6, 1)
    batch = change(batch, mask=torch.ones_like(batch.mask))
    u = standardize(batch.score)
    q = (batch.logp_old.squeeze(-1) + u / eta).softmax(-1)
    p = logp.squeeze(-1).softmax(-1)
    grad = gradient(TPO(eta=eta), logp, batch).squeeze(-1) * 3  # undo the mean over contexts
    assert_close(grad, p - q)
    assert_close(grad.sum(-1), torch.zeros(3, dtype=grad.dtype))
    assert (grad.abs() <= 1).all()


def test_tpo_gradient_vanishes_at_the_target():
    _, batch = random_batch(3, 6, 1)
    batch = change(batch, mask=torch.ones_like(batch.mask))
    target = batch.logp_old + standardize(batch.score).unsqueeze(-1)
    assert gradient(TPO(), target, batch).abs().max() < 1e-12


def test_tpo_target_is_p_old_at_infinite_eta():
    _, batch = random_batch(3, 6, 1)
    assert gradient(TPO(eta=1e12), batch.logp_old, batch).abs().max() < 1e-10


@pytest.mark.parametrize(("k", "factor"), [(2, 7.39), (4, 10.07), (8, 20.57), (10, 28.03), (16, 62.25)])
def test_tpo_odds_factor_of_one_success(k, factor):
    score = torch.zeros(1, k, dtype=torch.float64)
    score[0, 0] = 1
    u = standardize(score)[0]
    assert u[0].item() == pytest.approx(math.sqrt(k - 1))
    assert u[1].item() == pytest.approx(-1 / math.sqrt(k - 1))
    assert math.exp(u[0] - u[1]) == pytest.approx(factor, abs=5e-3)


@pytest.mark.parametrize(("k", "m"), [(8, 1), (8, 3), (16, 5)])
def test_tpo_log_odds_of_m_successes(k, m):
    u = standardize((torch.arange(k) < m).double().unsqueeze(0))[0]
    assert (u[0] - u[-1]).item() == pytest.approx(k / math.sqrt(m * (k - m)))


@pytest.mark.parametrize("p", [1e-4, 0.01, 1 / 16, 0.5])
@pytest.mark.parametrize("eta", [0.25, 1.0])
def test_the_push_on_one_success_by_its_share_of_the_group(p, eta):
    """docs/language_models.md has the table. The push is -d loss / d log-prob of a candidate, of a group of 16."""
    k = 16
    share = torch.full((1, k, 1), (1 - p) / (k - 1), dtype=torch.float64)
    share[0, 0] = p
    score, mask = torch.zeros(1, k, dtype=torch.float64), torch.ones_like(share)
    score[0, 0] = 1
    batch = scored_completions(share.log(), score, mask)

    def push(objective, candidate: int = 0) -> float:
        return -gradient(objective, batch.logp_old, batch)[0, candidate].item()

    odds = math.exp(k / (eta * math.sqrt(k - 1)))
    assert push(TPO(eta=eta)) == pytest.approx(p * (1 - p) * (odds - 1) / (1 - p + p * odds))
    failure = (1 - p) / (k - 1)
    assert push(TPO(eta=eta), 1) == pytest.approx(failure / (1 - p + p * odds) - failure)
    assert push(TPO(eta=eta, anchor=False)) == pytest.approx(odds / (odds + k - 1) - p)
    assert push(TPORatio(eta=eta)) == pytest.approx(odds / (odds + k - 1) - 1 / k)  # whatever its share
    assert push(GRPO()) == pytest.approx(math.sqrt(k - 1))  # whatever its share


@pytest.mark.parametrize(("pi", "gate"), [(0.1, 0.909), (0.9, 0.526)])
def test_dg_gate(pi, gate):
    logp, one = torch.full((1, 1, 1), math.log(pi)), torch.ones(1, 1, 1)
    batch = Batch(logp, one, 0 * one, one, one[..., 0], one[..., 0])
    assert gradient(DG(), logp, batch).item() == pytest.approx(-gate, abs=1e-3)


def test_constants_have_the_precision_of_the_log_probs():
    assert bessel_correction(torch.ones(1, 7, dtype=torch.float64)).item() == 7 / 6


def test_dg_is_half_of_reinforce_at_infinite_eta():
    logp, batch = random_batch(3, 1, 4)
    assert_close(gradient(DG(eta=1e12), logp, batch), gradient(PG(), logp, batch) / 2)


def test_ppo_on_policy_is_reinforce():
    _, batch = random_batch(3, 1, 4)
    assert_close(gradient(PPO(), batch.logp_old, batch), gradient(PG(), batch.logp_old, batch))


def test_ppo_clips_only_what_would_overshoot():
    one = torch.ones(1, 4, 1, dtype=torch.float64)
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5], dtype=torch.float64).view(1, 4, 1)
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64).view(1, 4, 1)
    batch = Batch(0 * one, advantage, 0 * one, one, advantage[..., 0], one[..., 0])
    grad = gradient(PPO(clip_eps=0.2), ratio.log(), batch).flatten()
    assert_close(grad, torch.tensor([0.0, 1.5, -0.5, 0.0], dtype=torch.float64) / 4)


def test_grpo_without_kl_on_policy_is_group_pg():
    _, batch = random_batch(3, 6, 2)
    assert_close(gradient(GRPO(beta=0.0), batch.logp_old, batch), gradient(GroupPG(), batch.logp_old, batch))


def test_grpo_kl_pulls_back_to_the_rollout_policy():
    _, batch = random_batch(1, 2, 1)
    batch = change(batch, score=torch.zeros_like(batch.score), mask=torch.ones_like(batch.mask))
    step = torch.tensor([0.3, -0.3], dtype=torch.float64).view(1, 2, 1)
    grad = gradient(GRPO(beta=0.04), batch.logp_old + step, batch)
    assert_close(grad, 0.04 * (1 - (-step).exp()))
