"""What the papers of the group methods state about their losses, against autograd in float64."""

import dataclasses
import math

import pytest
import torch
from torch.testing import assert_close

from algorithms import gates
from algorithms.awr import AWR
from algorithms.base import Batch, centre, standardize
from algorithms.cispo import CISPO
from algorithms.dapo import DAPO
from algorithms.dr_grpo import DrGRPO
from algorithms.gmpo import GMPO
from algorithms.grpo_published import GRPOPublished
from algorithms.gspo import GSPO
from algorithms.maxrl import MaxRL
from algorithms.mdpo import MDPO
from algorithms.pg import PG
from algorithms.rebel import REBEL
from algorithms.reinforce_pp import ReinforcePP
from algorithms.remax import ReMax
from algorithms.rloo import RLOO
from algorithms.sapo import SAPO
from algorithms.sspo import SSPO
from algorithms.tpo import TPO
from algorithms.tpo_dg import TPODG
from algorithms.tpo_ratio import TPORatio
from tests.helpers import change, gradient, random_batch, tensors

LOGP, BATCH = random_batch(3, 4, 6)
LOGP = BATCH.logp_old + 8 * (LOGP - BATCH.logp_old)  # ratios from e^-1 to e, on both sides of every clip
MASK, N = BATCH.mask, 12
LENGTH = MASK.sum(-1, keepdim=True)
D = (LOGP - BATCH.logp_old) * MASK
R, Z = D.exp(), standardize(BATCH.score).unsqueeze(-1)
S = (D.sum(-1, keepdim=True) / LENGTH).exp()
TAU = torch.where(Z > 0, 1.0, 1.05).double()


def unclipped(ratio, advantage, low, high):
    return torch.where(advantage > 0, ratio < 1 + high, ratio > 1 - low)


def geometric(clip):
    kept = torch.where(Z > 0, D.clamp(max=clip), D.clamp(min=-clip))
    return (kept.sum(-1, keepdim=True) / LENGTH).exp(), torch.where(Z > 0, clip > D, -clip < D)


def softened(log_gate, slope):
    """Coefficient A w r g'(r) / g(r) / (N |y|) of a log gate and r g'/g."""
    return Z * ((log_gate * MASK).sum(-1, keepdim=True) / LENGTH).exp() * slope / (N * LENGTH)


P = torch.sigmoid(TAU * (R - 1))
W, KEPT = geometric(0.4)
A = BATCH.advantage
COEFFICIENTS = {  # of grad log pi(y_t) in the objective, which is minus the loss
    "pg": (PG(), A / N),
    "remax": (ReMax(), A / N),
    "mdpo": (MDPO(t=2.0), (R * A - R * D / 2) / N),
    "rloo": (RLOO(), 4 / 3 * centre(BATCH.score, BATCH.weight).unsqueeze(-1) / N),
    "dr_grpo": (DrGRPO(), centre(BATCH.score, BATCH.weight).unsqueeze(-1) * R * unclipped(R, Z, 0.2, 0.2) / (N * 6)),
    "grpo": (
        GRPOPublished(),
        (Z * R * unclipped(R, Z, 0.2, 0.2) + 0.04 * ((BATCH.logp_ref - LOGP).exp() - 1)) / (N * LENGTH),
    ),
    "bessel": (
        GRPOPublished(beta=0.0, bessel=True),
        math.sqrt(3 / 4) * Z * R * unclipped(R, Z, 0.2, 0.2) / (N * LENGTH),
    ),
    "dapo": (DAPO(), Z * R * unclipped(R, Z, 0.2, 0.28) / MASK.sum()),
    "gspo": (GSPO(clip_low=0.2, clip_high=0.3), Z * S * unclipped(S, Z, 0.2, 0.3) / (N * LENGTH)),
    "cispo": (CISPO(cap=1.5), Z * R.clamp(max=1.5) / MASK.sum()),
    "gmpo": (GMPO(), Z * W * KEPT / (N * LENGTH)),
    "sapo": (SAPO(), Z * R / torch.cosh(TAU * (R - 1) / 2) ** 2 / (N * LENGTH)),
    "sspo sigmoid": (SSPO(gate="sigmoid"), softened((4 / TAU * P).log(), TAU * (1 - P) * R)),
    "sspo arctan": (SSPO(), softened((TAU * D).arctan() / TAU, 1 / (1 + (TAU * D) ** 2))),
    "awr": (AWR(), Z.exp().clamp(max=20) / N),
    "tpo": (TPO(), None),
}
COEFFICIENTS["tpo"] = (
    TPO(),
    ((BATCH.logp_old * MASK).sum(-1) + Z.squeeze(-1)).softmax(-1).sub(((LOGP * MASK).sum(-1)).softmax(-1)).unsqueeze(-1)
    / 3,
)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_coefficient_of_the_score_function_off_policy(name):
    objective, expected = COEFFICIENTS[name]
    assert_close(gradient(objective, LOGP, BATCH), -expected * MASK)


def test_soft_and_clipped_sequence_methods_coincide_at_the_rollout_policy():
    expected = -Z / (N * LENGTH) * MASK
    methods = [GSPO(), GMPO(), GRPOPublished(beta=0.0)]
    methods += [soft(gate=gate) for soft in (SAPO, SSPO) for gate in gates.GATES]
    for objective in methods:
        assert_close(gradient(objective, BATCH.logp_old, BATCH), expected)
    assert_close(gradient(CISPO(), BATCH.logp_old, BATCH), -Z / MASK.sum() * MASK)


def test_limits_of_sspo(monkeypatch):
    # g(r) = r is GSPO, and GMPO, without a clip
    free = gradient(GSPO(clip_low=0.999, clip_high=1e9), LOGP, BATCH)
    assert_close(gradient(SSPO(tau_pos=1e-8, tau_neg=1e-8), LOGP, BATCH), free)
    assert_close(gradient(GMPO(clip=1e9), LOGP, BATCH), free)
    # a clipped g is GMPO
    clip = lambda d, tau: torch.where(Z > 0, d.clamp(max=0.4), d.clamp(min=-0.4))  # noqa: E731
    monkeypatch.setitem(gates.LOG_GATES, "clip", clip)
    assert_close(gradient(SSPO(gate="clip"), LOGP, BATCH), gradient(GMPO(), LOGP, BATCH))
    # one token with SAPO's gate is SAPO
    logp, batch = random_batch(3, 4, 1)
    for gate in ("sigmoid", "erf", "softsign"):
        assert_close(gradient(SSPO(gate=gate), logp, batch), gradient(SAPO(gate=gate), logp, batch))


@pytest.mark.parametrize("gate", gates.GATES)
def test_gates_follow_the_ratio_near_1_and_stop_far_from_it(gate):
    r = torch.linspace(0.01, 5, 500, dtype=torch.float64).requires_grad_()
    for tau in (0.5, 1.0, 10.0):
        value = gates.GATES[gate](r, torch.tensor(tau).double())
        (slope,) = torch.autograd.grad(value.sum(), r)
        assert (value > 0).all() and (slope <= 1).all()
        assert (slope[r > 1].diff() <= 0).all() and (slope[r < 1].diff() >= 0).all() and slope[-1] < 0.7
        at_1 = torch.ones(1).double().requires_grad_()
        assert torch.autograd.grad(gates.GATES[gate](at_1, torch.tensor(tau).double()), at_1)[
            0
        ].item() == pytest.approx(1)
        d = r.detach().log()
        if gate != "arctan":
            assert_close(gates.LOG_GATES[gate](d, torch.tensor(tau).double()), value.detach().log())


def test_methods_that_are_one_another():
    full = change(BATCH, mask=torch.ones_like(MASK))
    same = (DAPO(clip_high=0.2), GRPOPublished(beta=0.0))
    assert_close(*(gradient(objective, LOGP, full) for objective in same))
    assert_close(gradient(GSPO(token_level=True), LOGP, BATCH), gradient(GSPO(), LOGP, BATCH))
    # (K-1)/K of RLOO, over the constant length
    dr, rloo = (gradient(objective, BATCH.logp_old, BATCH) for objective in (DrGRPO(budget=10), RLOO()))
    assert_close(dr, 3 / 4 * rloo / 10)
    single, batch = random_batch(5, 1, 3)
    grouped = Batch(**{name: value.transpose(0, 1) for name, value in vars(batch).items()})
    group = DAPO(clip_high=0.2, count_flat=True)  # a batch of single rollouts is a group to REINFORCE++
    assert_close(
        gradient(ReinforcePP(), single, batch), gradient(group, single.transpose(0, 1), grouped).transpose(0, 1)
    )


def test_rebel_is_the_mean_over_all_pairs():
    x = D.sum(-1) / 2.0 - BATCH.score
    pairs = [(i, j) for i in range(4) for j in range(i)]
    expected = torch.stack([(x[:, i] - x[:, j]) ** 2 for i, j in pairs]).mean()
    assert_close(REBEL(eta=2.0).loss(LOGP, BATCH)[0], expected)
    # of one pair: -(2/eta) residual on the one, the opposite on the other
    logp, batch = random_batch(1, 2, 1)
    d, reward = (logp - batch.logp_old).flatten(), batch.score.flatten()
    residual = (d[0] - d[1]) / 2.0 - (reward[0] - reward[1])
    assert_close(gradient(REBEL(eta=2.0), logp, batch).flatten(), residual * torch.tensor([1.0, -1.0]).double())


def test_reinforce_pp_standardises_over_the_batch():
    whole = standardize(BATCH.score.flatten()).view(3, 4)
    assert_close(ReinforcePP().advantage(BATCH), whole, rtol=1e-6, atol=1e-6)
    centred = BATCH.score - BATCH.score.mean(-1, keepdim=True)
    assert_close(
        ReinforcePP(group_baseline=True).advantage(BATCH), centred / centred.std(correction=0), rtol=1e-6, atol=1e-6
    )


def test_dapo_leaves_groups_without_contrast_out_of_the_mean():
    score = BATCH.score.clone()
    score[0] = 1.0
    batch = change(BATCH, score=score)
    kept = Batch(**{name: value[1:] for name, value in vars(batch).items()})
    assert_close(gradient(DAPO(), LOGP, batch)[1:], gradient(DAPO(), LOGP[1:], kept))
    ratio = MASK[1:].sum() / MASK.sum()
    assert_close(gradient(DAPO(count_flat=True), LOGP, batch)[1:], ratio * gradient(DAPO(), LOGP[1:], kept))


@pytest.mark.parametrize("draws", [2, 5])
def test_maxrl_is_likelihood_up_to_as_many_terms_as_it_has_other_draws(draws):
    """beta(p) of two arms, in expectation over all outcomes: 1 - (1-p)^(K-1)."""
    p = 0.2
    logits = torch.tensor([math.log(p / (1 - p)), 0.0], dtype=torch.float64)
    expected = torch.zeros(2, dtype=torch.float64)
    for successes in range(draws + 1):
        arms = (torch.arange(draws) >= successes).long()
        leaf = logits.clone().requires_grad_()
        logp = leaf.log_softmax(-1)[arms].view(1, draws, 1)
        score, one = (arms == 0).double().unsqueeze(0), torch.ones((), dtype=torch.float64)
        batch = Batch(logp.detach(), score.unsqueeze(-1), 0 * one, one, score, torch.ones_like(score))
        (grad,) = torch.autograd.grad(MaxRL().loss(logp, batch)[0], leaf)
        expected -= math.comb(draws, successes) * p**successes * (1 - p) ** (draws - successes) * grad
    direction = torch.tensor([1 - p, p - 1], dtype=torch.float64)
    assert_close(expected, (1 - (1 - p) ** (draws - 1)) * direction, rtol=1e-5, atol=1e-7)


def test_maxrl_learns_nothing_where_nothing_pays():
    batch = change(BATCH, score=-BATCH.score)
    assert gradient(MaxRL(), LOGP, batch).abs().max() == 0


def test_tpo_of_averages_is_tpo_where_lengths_are_equal_up_to_eta():
    """softmax(l/T) with the score tilt: p - q in l/T, and so 1/T of it on each token."""
    full = change(BATCH, mask=torch.ones_like(MASK))
    q = (full.logp_old.mean(-1) + Z.squeeze(-1)).softmax(-1)
    expected = (LOGP.mean(-1).softmax(-1) - q) / 3 / 6
    assert_close(gradient(TPO(length_normalize=True), LOGP, full), expected.unsqueeze(-1).expand_as(LOGP))


def test_long_completions_have_a_gradient_only_where_log_probs_are_averaged():
    logp_old = torch.linspace(0, -900, 12).double().view(3, 4, 1).expand(3, 4, 6) / 6
    long = change(BATCH, logp_old=logp_old, mask=torch.ones_like(MASK))
    assert gradient(TPO(), logp_old, long).abs().max() < 1e-20
    assert gradient(TPO(length_normalize=True), logp_old, long).abs().max() > 1e-9


def test_tpo_on_ratios_counts_each_draw_once():
    """1/K - q on policy, whatever the log-probs and lengths, and the solution of TPO."""
    push = (1 / 4 - Z.squeeze(-1).softmax(-1)) / 3
    assert_close(gradient(TPORatio(), BATCH.logp_old, BATCH), push.unsqueeze(-1) * MASK)
    long = change(BATCH, logp_old=torch.linspace(0, -900, 12).double().view(3, 4, 1).expand(3, 4, 6) / 6)
    assert_close(gradient(TPORatio(), long.logp_old, long), push.unsqueeze(-1) * MASK)
    solution = BATCH.logp_old + Z / LENGTH * MASK
    for objective in (TPO(), TPORatio()):
        assert gradient(objective, solution, BATCH).abs().max() < 1e-12


def test_tpo_on_ratios_is_tpo_in_an_expectation_over_all_actions():
    """Their weights are their probabilities, and each has one token."""
    logp, logp_old = (torch.randn(3, 4, 1, dtype=torch.double).log_softmax(1) for _ in range(2))
    listed = change(BATCH, logp_old=logp_old, mask=torch.ones(1).double(), weight=logp_old.exp().squeeze(-1))
    for anchor in (True, False):
        ours, theirs = (gradient(cls(anchor=anchor), logp, listed) for cls in (TPORatio, TPO))
        assert_close(ours, theirs)


def test_tpo_on_ratios_pushes_as_grpo_does_where_rewards_are_0_or_1():
    """Within a group, on the first step; across groups TPO gives more of its push to rare successes."""
    rewards = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]).double()
    batch = change(BATCH, score=rewards)
    ours, theirs = (gradient(loss, BATCH.logp_old, batch)[..., 0] for loss in (TPORatio(), RLOO()))
    scale = (ours * theirs).sum(-1, keepdim=True) / theirs.square().sum(-1, keepdim=True)
    assert_close(ours, scale * theirs)
    per_success = -ours[:, 0]
    assert per_success[0] > per_success[1] > per_success[2] > 0


def test_a_candidate_without_a_token_leaves_its_group():
    absent = change(BATCH, mask=torch.cat([0 * MASK[:, :1], MASK[:, 1:]], dim=1))
    others = Batch(**{name: value[:, 1:] for name, value in tensors(BATCH).items()})
    assert_close(gradient(TPO(), LOGP, absent)[:, 1:], gradient(TPO(), LOGP[:, 1:], others))


def test_tpo_dg_weighs_contexts_and_keeps_their_targets():
    plain, gated = (gradient(objective, LOGP, BATCH) for objective in (TPO(), TPODG()))
    gate = gated[..., 0] / plain[..., 0]
    assert_close(gate, gate[:, :1].expand_as(gate))
    assert ((gate > 0.5) & (gate < 1)).all()
    sure = change(BATCH, logp_old=torch.zeros_like(LOGP))
    assert_close(gradient(TPODG(), LOGP, sure), gradient(TPO(), LOGP, sure) / 2)
    assert_close(gradient(TPODG(gate_eta=1e12), LOGP, BATCH), plain / 2)
    target = BATCH.logp_old + Z / LENGTH * MASK
    assert gradient(TPODG(), target, BATCH).abs().max() < 1e-12


def test_every_number_has_its_domain():
    """Each dataclass refuses its own numbers at 0 (or below 0 where 0 is a value) and where they are not a number."""
    zero_is_fine = {"beta of GRPO", "beta of GRPOPublished", "std_floor", "mask_floor"}
    for cls in (
        RLOO,
        GRPOPublished,
        DrGRPO,
        DAPO,
        GSPO,
        CISPO,
        GMPO,
        SAPO,
        SSPO,
        ReinforcePP,
        ReMax,
        REBEL,
        AWR,
        MaxRL,
    ):
        for field in dataclasses.fields(cls):
            if field.type in (float, int | None):
                bad = [math.nan] if field.type is float else []
                bad += [-0.1] if {field.name, f"{field.name} of {cls.__name__}"} & zero_is_fine else [0]
                for value in bad:
                    with pytest.raises(ValueError, match=f"{field.name}={value}"):
                        cls(**{field.name: value})
    for cls in (SAPO, SSPO):
        with pytest.raises(ValueError, match="gate=relu: must be one of sigmoid, erf"):
            cls(gate="relu")
