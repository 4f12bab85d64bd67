"""KL-Cov: a penalty on the few tokens whose covariance with the advantage is largest."""

from dataclasses import dataclass

import torch

from algorithms.aggregate import token_mean, weight_of_unequal_groups
from algorithms.base import Batch, Loss, Objective, require, standardize
from algorithms.covariance import is_in_top_fraction, token_covariance
from algorithms.ratios import log_ratio

# nats: what a forward pass and a rollout with a cache differ by in float32; |d| has a slope of 1 however small d is
ROUNDING = 1e-5


@dataclass(frozen=True)
class KLCov(Objective):
    """Policy gradient with a ratio per token; the tokens that would lower the entropy most are held to pi_old.

        c_t = (A_i - mean A) (log pi(y_t) - mean log pi),    A = z-score,  means over all tokens
        loss = sum_i sum_t [ -r_t A_i + m_t beta |d_t| ] / sum_i |y_i|,    d_t = log r_t

    m_t = 1 for the share `share` of the tokens, at least one, with the largest c_t. |d_t| stands for their KL
    divergence. Up to ROUNDING it counts as 0, so that it has no gradient in the first epoch. No ratio is clipped. A
    group of equal scores counts neither in the means nor in the average. `beta` is 1 in verl's loss, 0.1 in its
    configuration. Raises ValueError for share outside (0, 1] or beta <= 0. https://arxiv.org/abs/2505.22617
    """

    name = "kl_cov"
    paper = "https://arxiv.org/abs/2505.22617"
    sampler = "group"
    invariances = frozenset({"shift", "scale"})
    zero_variance_gradient = "none"

    share: float = 2e-4
    beta: float = 1.0
    bessel: bool = False

    def __post_init__(self):
        require(0 < self.share <= 1, "share", self.share, "in (0, 1]")
        require(self.beta > 0, "beta", self.beta, "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = standardize(batch.score, batch.effective_weight, eps=1e-8, bessel=self.bessel)
        weight = weight_of_unequal_groups(batch.effective_weight, advantage)
        held = is_in_top_fraction(token_covariance(logp, advantage, batch.mask, weight), self.share)
        d = log_ratio(logp, batch)
        distance = torch.where(d.abs() > ROUNDING, d.abs(), 0.0)
        loss = -d.exp() * advantage.unsqueeze(-1) + self.beta * held * distance
        return token_mean(loss, batch.mask, weight), {}
