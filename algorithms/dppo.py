"""Divergence proximal policy optimisation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.aggregate import token_mean
from algorithms.base import Batch, Loss, Objective, require, standardize
from algorithms.ratios import log_ratio

SMALL = 1e-8  # added to 1 - p before the logarithm, as in verl


@dataclass(frozen=True)
class DPPO(Objective):
    """PPO that bounds the divergence of the two policies at a token, in place of their ratio.

        loss = -sum_i sum_t sg[min(r_t, cap) m_t] A_i log pi(y_t) / sum_i |y_i|,    A = z-score
        m_t = 0 where D_t > clip_high, A > 0 and p > p_old, or D_t > clip_low, A < 0 and p < p_old; else 1

    p = pi(y_t), p_old = pi_old(y_t). The divergence is that of the drawn token against all others (the paper's binary
    form): "tv" is |p - p_old|, "kl" is p_old log(p_old / p) + (1 - p_old) log((1 - p_old) / (1 - p)). A ratio
    overstates what happens to rare tokens and understates it for likely ones. The defaults 0.15 for tv and 0.05 for kl
    are about as wide, since KL >= 2 TV^2; verl's default is PPO's 0.2 for both. Raises ValueError for an unknown
    divergence, or for clip_low, clip_high or cap <= 0. https://arxiv.org/abs/2602.04879
    """

    name = "dppo"
    paper = "https://arxiv.org/abs/2602.04879"
    sampler = "group"
    invariances = frozenset({"shift", "scale"})
    zero_variance_gradient = "none"
    stop_gradient = True

    divergence: str = "tv"
    clip_low: float = 0.15
    clip_high: float = 0.15
    cap: float = 20.0
    bessel: bool = False

    def __post_init__(self):
        require(self.divergence in DIVERGENCES, "divergence", self.divergence, f"one of {', '.join(DIVERGENCES)}")
        for key in ("clip_low", "clip_high", "cap"):
            require(getattr(self, key) > 0, key, getattr(self, key), "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = standardize(batch.score, batch.effective_weight, eps=1e-8, bessel=self.bessel).unsqueeze(-1)
        d = log_ratio(logp, batch).detach()
        distance = DIVERGENCES[self.divergence](logp.detach(), batch.logp_old)
        too_high = (advantage > 0) & (d > 0) & (distance > self.clip_high)
        too_low = (advantage < 0) & (d < 0) & (distance > self.clip_low)
        weight = torch.where(too_high | too_low, 0.0, d.exp().clamp(max=self.cap))
        return token_mean(-weight * advantage * logp, batch.mask, batch.effective_weight), {}


def total_variation(logp: Tensor, logp_old: Tensor) -> Tensor:
    """|p - p_old|, that of two Bernoulli distributions."""
    return (logp.exp() - logp_old.exp()).abs()


def kl(logp: Tensor, logp_old: Tensor) -> Tensor:
    """KL(p_old, p) of two Bernoulli distributions, in nats."""
    p, p_old = logp.exp(), logp_old.exp()
    others = ((1 - p_old).clamp_min(0) + SMALL) / ((1 - p).clamp_min(0) + SMALL)
    return p_old * (logp_old - logp) + (1 - p_old) * others.log()


DIVERGENCES = {"tv": total_variation, "kl": kl}
