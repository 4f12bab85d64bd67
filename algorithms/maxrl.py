"""Maximum likelihood reinforcement learning."""

from dataclasses import dataclass

import torch

from algorithms.aggregate import seq_mean_token_sum
from algorithms.base import Batch, Loss, Objective, centre, require
from algorithms.ratios import clipped_surrogate, log_ratio


@dataclass(frozen=True)
class MaxRL(Objective):
    """PPO on rewards divided by their mean; more draws bring its gradient closer to that of log p(success).

        loss = -(1/N) sum_i sum_t min(r_t A_i, clip(r_t) A_i),    A_i = (R_i - mean) / (mean + 1e-6)

    Rewards are >= 0; A = 0 where their mean is 0. For rewards 0 or 1 and K draws at pi_old, the expected gradient is
    that of the first K-1 terms of the series of log p, which is 1 - (1 - p)^(K-1) times the gradient of log p. Without
    the centring it is that of K terms. Other implementations average over tokens, which changes the weight of long
    answers. Raises ValueError for clip_eps outside (0, 1). https://arxiv.org/abs/2602.02710
    """

    name = "maxrl"
    paper = "https://arxiv.org/abs/2602.02710"
    sampler = "group"
    invariances = frozenset({"scale"})
    zero_variance_gradient = "none"

    clip_eps: float = 0.2

    def __post_init__(self):
        require(0 < self.clip_eps < 1, "clip_eps", self.clip_eps, "in (0, 1)")

    def loss(self, logp, batch: Batch) -> Loss:
        centred = centre(batch.score, batch.effective_weight)
        mean = batch.score - centred
        advantage = torch.where(mean > 0, centred / (mean.clamp_min(0) + 1e-6), 0.0).unsqueeze(-1)
        loss = -clipped_surrogate(log_ratio(logp, batch).exp(), advantage, self.clip_eps)
        return seq_mean_token_sum(loss, batch.mask, batch.effective_weight), {}
