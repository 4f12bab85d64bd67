"""What the papers of the objectives of TRL and verl state about their losses, against autograd in float64."""

import dataclasses
import itertools
import math

import pytest
import torch
from torch.testing import assert_close

from algorithms.aggregate import token_mean
from algorithms.base import Batch, centre, standardize
from algorithms.clip_cov import ClipCov
from algorithms.covariance import is_in_top_fraction, token_covariance
from algorithms.dapo import DAPO
from algorithms.dppo import DPPO, kl, total_variation
from algorithms.dro import DRO
from algorithms.gpg import GPG
from algorithms.grpo_passk import GRPOPassK, gain_in_best
from algorithms.gspo import GSPO
from algorithms.kl_cov import KLCov
from algorithms.luspo import LUSPO
from algorithms.opo import OPO
from algorithms.ratios import lengths
from algorithms.rloo import RLOO
from algorithms.vespo import VESPO
from tests.helpers import change, gradient, random_batch

LOGP, BATCH = random_batch(3, 4, 6)
LOGP = (BATCH.logp_old + 8 * (LOGP - BATCH.logp_old)).clamp(max=-0.01)  # ratios on both sides of every clip
MASK, N = BATCH.mask, 12
LENGTH = MASK.sum(-1, keepdim=True)
D = (LOGP - BATCH.logp_old) * MASK
R, Z = D.exp(), standardize(BATCH.score).unsqueeze(-1)
CENTRED = centre(BATCH.score, BATCH.weight).unsqueeze(-1)
S = (D.sum(-1, keepdim=True) / LENGTH).exp()
W = D.sum(-1, keepdim=True).exp()
K_, LAM = torch.where(Z > 0, 2.0, 3.0), torch.where(Z > 0, 3.0, 2.0)
P, P_OLD = LOGP.exp(), BATCH.logp_old.exp()
KL = P_OLD * (P_OLD / P).log() + (1 - P_OLD) * ((1 - P_OLD) / (1 - P)).log()


def inside(distance, bound):
    """1 where a step along the advantage does not leave the region."""
    return ~((distance > bound) & (torch.sign(P - P_OLD) == torch.sign(Z)))


COEFFICIENTS = {  # of grad log pi(y_t) in the objective, which is minus the loss
    "vespo": (VESPO(), W**K_ * (LAM * (1 - W)).exp() * Z / MASK.sum()),
    "luspo": (LUSPO(clip_low=0.2, clip_high=0.3), Z * S * torch.where(Z > 0, S < 1.3, S > 0.8) / N),
    "dppo tv": (DPPO(), R * Z * inside((P - P_OLD).abs(), 0.15) / MASK.sum()),
    "dppo kl": (DPPO("kl", 0.05, 0.05), R * Z * inside(KL, 0.05) / MASK.sum()),
    "dppo cap": (DPPO(clip_low=1.0, clip_high=1.0, cap=1.5), R.clamp(max=1.5) * Z / MASK.sum()),
    "gpg": (GPG(f_norm=2.0), CENTRED / 2 / MASK.sum()),
    "dro": (DRO(tau=0.5), (CENTRED - D.sum(-1, keepdim=True) / 2) / N),
    "dro token": (DRO(tau=0.5, token_level=True), (CENTRED - D / 2) / MASK.sum()),
}


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_coefficient_of_the_score_function_off_policy(name):
    objective, expected = COEFFICIENTS[name]
    assert_close(gradient(objective, LOGP, BATCH), -expected * MASK, atol=1e-7, rtol=1e-6)


def test_the_batch_lies_on_both_sides_of_every_bound():
    for kept in (inside((P - P_OLD).abs(), 0.15), inside(KL, 0.05)):
        assert 0 < (kept * MASK).sum() < MASK.sum()


def test_vespo_weight_is_1_on_policy_and_largest_at_k_over_lambda():
    assert_close(gradient(VESPO(), BATCH.logp_old, BATCH), -Z / MASK.sum() * MASK)
    log_w = torch.linspace(-8, 4, 4801, dtype=torch.float64)
    for objective, k, lam in ((VESPO(), 2.0, 3.0), (VESPO(k_pos=4.0, lam_pos=1.0), 4.0, 1.0)):
        # one group of two for each w, the ratio of its better answer
        logp = torch.stack([log_w, torch.zeros_like(log_w)], dim=-1).view(1, -1, 2, 1)
        one = torch.ones((), dtype=torch.float64)
        score = torch.tensor([1.0, 0.0]).double().expand(1, len(log_w), 2)
        batch = Batch(0 * logp, 0 * logp, 0 * one, one, score, torch.ones_like(score))
        phi = -gradient(objective, logp, batch)[0, :, 0, 0]
        assert log_w[phi.argmax()].item() == pytest.approx(math.log(k / lam), abs=2e-3)
        assert phi[0] < 0.01 * phi.max() and phi[-1] < 0.01 * phi.max()


def test_luspo_is_gspo_times_length():
    kinds = [cls(clip_low=0.2, clip_high=0.3) for cls in (LUSPO, GSPO)]
    luspo, gspo = (gradient(objective, LOGP, BATCH) for objective in kinds)
    assert_close(luspo, gspo * LENGTH)
    full = change(BATCH, mask=torch.ones_like(MASK))
    assert_close(kinds[0].loss(LOGP, full)[0], 6 * kinds[1].loss(LOGP, full)[0])


def test_dppo_forbids_only_steps_that_leave_the_region():
    """One group of four answers, one token each: p moves from 1/2 by more than the bound, up or down."""
    p = torch.tensor([0.8, 0.8, 0.2, 0.2], dtype=torch.float64).view(1, 4, 1)
    score = torch.tensor([[1.0, -1.0, 1.0, -1.0]], dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)
    batch = Batch((0 * p + 0.5).log(), score.unsqueeze(-1), 0 * one, one, score, torch.ones_like(score))
    expected = torch.tensor([0.0, 1.6, -0.4, 0.0], dtype=torch.float64) / 4
    for objective in (DPPO(), DPPO("kl", 0.05, 0.05)):
        assert_close(gradient(objective, p.log(), batch).flatten(), expected, atol=1e-7, rtol=1e-6)
    # a rare token may move by a ratio of 10 at once, a likely one may not move by a ratio of 1.2
    rare, likely = (change(batch, logp_old=(p * 0 + x).log()) for x in (0.001, 0.82))
    assert (gradient(DPPO(), (p * 0 + 0.01).log(), rare) != 0).all()
    assert gradient(DPPO(), (p * 0 + 0.98).log(), likely).flatten()[0] == 0


def test_pinsker_relates_the_two_divergences():
    p, q = torch.rand(2, 1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert (kl(p.log(), q.log()) >= 2 * total_variation(p.log(), q.log()) ** 2 - 1e-7).all()


def test_gpg_scales_by_the_share_of_groups_that_teach():
    score = torch.cat([torch.full((1, 4), 0.3).double(), BATCH.score[1:]])
    found = gradient(GPG(), LOGP, change(BATCH, score=score))
    expected = 3 / 2 * centre(score, BATCH.weight).unsqueeze(-1) / MASK.sum() * MASK
    assert_close(found, -expected)
    flat = change(BATCH, score=torch.full_like(score, 0.3))
    assert gradient(GPG(), LOGP, flat).abs().max() == 0


def test_baseline_of_opo_leaves_no_mean_over_tokens():
    advantage = -gradient(OPO(), LOGP, BATCH)[..., 0] * N  # its first token is in every answer
    assert_close((advantage * LENGTH.squeeze(-1)).sum(-1), torch.zeros(3, dtype=torch.float64))
    assert_close((BATCH.score - advantage).std(-1), torch.zeros(3, dtype=torch.float64))
    full = change(BATCH, mask=torch.ones_like(MASK))
    assert_close(gradient(OPO(), LOGP, full), 3 / 4 * gradient(RLOO(), LOGP, full))


def test_baseline_of_opo_has_the_least_variance_where_squared_norms_are_lengths():
    """Of sum_i (R_i - b)^2 |y_i| / K, the second moment of the gradient, over all b."""
    b = (BATCH.score + gradient(OPO(), LOGP, BATCH)[..., 0] * N)[:, :1]
    length = lengths(LOGP, MASK)
    moments = [((BATCH.score - b - x).square() * length).sum(-1) for x in (-1e-3, 0.0, 1e-3)]
    assert (moments[1] < moments[0]).all() and (moments[1] < moments[2]).all()


def test_dro_is_least_where_the_log_ratio_is_the_advantage_over_tau():
    target = BATCH.logp_old + CENTRED / 0.5 / LENGTH * MASK
    assert gradient(DRO(tau=0.5), target, BATCH).abs().max() < 1e-12
    # up to a constant it is the squared residual
    residual = ((CENTRED.squeeze(-1) - 0.5 * D.sum(-1)) ** 2).mean() / (2 * 0.5)
    at_old = (CENTRED.squeeze(-1) ** 2).mean() / (2 * 0.5)
    difference = DRO(tau=0.5).loss(LOGP, BATCH)[0] - DRO(tau=0.5).loss(BATCH.logp_old, BATCH)[0]
    assert_close(difference, residual - at_old)


def gain_by_enumeration(score: torch.Tensor, k: int) -> torch.Tensor:
    """Mean over all sets of k - 1 other answers of what an answer adds to their best score."""
    n = len(score)
    found = []
    for i in range(n):
        sets = list(itertools.combinations([j for j in range(n) if j != i], k - 1))
        found.append(sum(max(score[i] - max(score[list(chosen)]), 0.0) for chosen in sets) / len(sets))
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("k", [2, 3, 5, 6])
def test_gain_in_best_of_k_by_enumeration(k):
    rng = torch.Generator().manual_seed(k)
    for score in (torch.randn(6, generator=rng), torch.randint(0, 3, (6,), generator=rng)):
        found = gain_in_best(score.double(), torch.ones(6).bool(), k)
        assert_close(found, gain_by_enumeration(score.double(), k))
        absent = torch.cat([score.double(), torch.full((2,), 9.0).double()])
        assert_close(gain_in_best(absent, torch.arange(8) < 6, k)[:6], found)


@pytest.mark.parametrize(("k", "right"), [(2, 1), (2, 5), (4, 3), (4, 6), (8, 1), (8, 2)])
def test_gain_of_a_right_answer_is_the_chance_that_the_others_are_wrong(k, right):
    score = (torch.arange(8) < right).double()
    found = gain_in_best(score, torch.ones(8).bool(), k)
    chance = math.comb(8 - right, k - 1) / math.comb(7, k - 1)
    assert_close(found, score * chance)
    # and so K/k times what pass@k of the group, over all its sets of k, would lose if this answer were wrong
    pass_at_k, without = (1 - math.comb(8 - c, k) / math.comb(8, k) for c in (right, right - 1))
    assert found[0].item() == pytest.approx(8 / k * (pass_at_k - without))


def test_pass_at_the_whole_group_counts_only_the_lead_of_the_best():
    whole, large = (gradient(GRPOPassK(k=k), LOGP, BATCH) for k in (None, 100))
    assert_close(whole, large)
    best = BATCH.score == BATCH.score.amax(-1, keepdim=True)
    assert (whole.abs().sum(-1)[~best] == 0).all() and (whole.abs().sum(-1)[best] > 0).all()
    top = Z.squeeze(-1).topk(2).values
    on_policy = -gradient(GRPOPassK(k=None), BATCH.logp_old, BATCH)
    assert_close(on_policy.sum(-1)[best], (top[:, 0] - top[:, 1]) / N)


def test_clip_cov_that_clips_nothing_is_ppo_per_token():
    plain = gradient(DAPO(clip_high=0.2), LOGP, BATCH)
    assert_close(gradient(ClipCov(cov_low=1e6, cov_high=1e7), LOGP, BATCH), plain)
    found = gradient(ClipCov(share=1.0, cov_low=0.05, cov_high=1e7), LOGP, BATCH)
    covariance = token_covariance(LOGP, Z.squeeze(-1), MASK, BATCH.weight)
    assert ((covariance > 0.05) & (plain != 0)).sum() > 2
    assert_close(found, plain * (covariance <= 0.05))


def test_clip_cov_leaves_out_the_largest_of_the_tokens_in_range():
    plain = gradient(DAPO(clip_high=0.2), LOGP, BATCH)
    covariance = token_covariance(LOGP, Z.squeeze(-1), MASK, BATCH.weight)
    changed = gradient(ClipCov(cov_low=0.05, cov_high=1e7), LOGP, BATCH) != plain
    assert changed.sum() == 1 and covariance[changed] == covariance[plain != 0].max()


def test_kl_cov_is_a_policy_gradient_with_ratio_and_a_penalty_on_the_tokens_it_holds():
    plain = -R * Z / MASK.sum() * MASK
    held = is_in_top_fraction(token_covariance(LOGP, Z.squeeze(-1), MASK, BATCH.weight), 0.2)
    assert held.sum() == int(0.2 * MASK.sum())
    assert_close(gradient(KLCov(share=0.2, beta=0.5), LOGP, BATCH), plain + 0.5 * held * D.sign() / MASK.sum())
    assert_close(gradient(KLCov(beta=1e-12), LOGP, BATCH), plain)
    assert_close(gradient(KLCov(share=1.0), BATCH.logp_old, BATCH), -Z / MASK.sum() * MASK)
    rounded = BATCH.logp_old + 1e-7 * D.sign()  # as a forward pass rounds beside a rollout with a cache
    assert_close(gradient(KLCov(share=1.0), rounded, BATCH), -Z / MASK.sum() * MASK, rtol=1e-5, atol=1e-8)


def test_covariances_are_over_the_tokens_of_groups_with_contrast():
    flat = torch.cat([torch.full((1, 4), 0.3).double(), BATCH.score[1:]])
    others = change(BATCH, **{name: getattr(BATCH, name)[1:] for name in vars(BATCH)})
    for objective in (ClipCov(share=0.3, cov_low=0.0), KLCov(share=0.3)):
        found = gradient(objective, LOGP, change(BATCH, score=flat))
        assert (found[0] == 0).all()
        assert_close(found[1:], gradient(objective, LOGP[1:], others))


def test_covariance_has_the_definition_of_one():
    found = token_covariance(LOGP, Z.squeeze(-1), MASK, BATCH.weight)
    tokens = torch.stack([Z.expand_as(LOGP)[MASK > 0], LOGP[MASK > 0]])
    assert_close(
        token_mean(found.masked_fill(MASK == 0, 0.0), MASK, BATCH.weight), torch.cov(tokens, correction=0)[0, 1]
    )
    assert (found[MASK == 0] == -torch.inf).all()


def test_of_equal_values_the_earlier_are_taken():
    assert is_in_top_fraction(torch.ones(1, 2, 4), 0.5).flatten().tolist() == [True] * 4 + [False] * 4
    assert not is_in_top_fraction(torch.full((1, 2, 4), -torch.inf), 0.5).any()


def test_every_number_has_its_domain():
    for cls in (VESPO, LUSPO, DPPO, GPG, ClipCov, KLCov, DRO, GRPOPassK):
        for field in dataclasses.fields(cls):
            if field.type in (float, int | None) and field.name not in ("cov_low", "cov_high"):
                for value in [0] + [math.nan] * (field.type is float):
                    with pytest.raises(ValueError, match=f"{field.name}={value}"):
                        cls(**{field.name: value})
    with pytest.raises(ValueError, match="divergence=l2: must be one of tv, kl"):
        DPPO(divergence="l2")
    with pytest.raises(ValueError, match=r"cov_low=5.0: must be < cov_high=5.0"):
        ClipCov(cov_low=5.0)
    with pytest.raises(ValueError, match="k=1: must be null or >= 2"):
        GRPOPassK(k=1)
