"""Proximal policy optimisation, without a critic."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, Objective, group_mean, require, token_sum
from algorithms.ratios import clipped_surrogate, log_ratio


@dataclass(frozen=True)
class PPO(Objective):
    """Clipped surrogate on token ratios, with the environment's baseline in place of a critic.

        loss = -sum_t min(r_t A_t, clip(r_t, 1 - clip_eps, 1 + clip_eps) A_t),    r_t = pi(y_t) / pi_old(y_t)

    Sum over tokens, mean over rollouts. The log-ratio is clamped to [-20, 20] to stay finite.
    Raises ValueError for clip_eps outside (0, 1). https://arxiv.org/abs/1707.06347
    """

    name = "ppo"
    paper = "https://arxiv.org/abs/1707.06347"
    sampler = "single"
    zero_variance_gradient = "none"

    clip_eps: float = 0.2

    def __post_init__(self):
        require(0 < self.clip_eps < 1, "clip_eps", self.clip_eps, "in (0, 1)")

    def loss(self, logp, batch: Batch) -> Loss:
        surrogate = clipped_surrogate(log_ratio(logp, batch).exp(), batch.advantage, self.clip_eps)
        return group_mean(token_sum(-surrogate, batch.mask), batch.weight), {}
