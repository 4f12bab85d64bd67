"""Group relative policy optimisation, in the form that the TPO paper compares with."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, Objective, group_sum, require, standardize, token_sum
from algorithms.ratios import LOG_RATIO_BOUND, clipped_surrogate


@dataclass(frozen=True)
class GRPO(Objective):
    """PPO's clipped surrogate with group-standardised scores, one ratio per candidate, and a KL penalty to pi_old.

        d_i = l_i - l_old_i,    A_i = (s_i - mean) / (std + 1e-8)
        loss = -sum_i w_i [ min(e^d_i A_i, clip(e^d_i, 1 - clip_eps, 1 + clip_eps) A_i) - beta (e^-d_i + d_i - 1) ]

    Sum over the drawn candidates, mean over contexts. d is clamped to [-20, 20], and std is that of a population. A
    candidate without a token leaves its group. With mask_floor, only contexts whose std is above it count, in the sum
    and in the mean. The published form (grpo_published) has one ratio per token instead. Raises ValueError for clip_eps
    outside (0, 1) or beta < 0. https://arxiv.org/abs/2402.03300, as in https://arxiv.org/abs/2604.06159
    """

    name = "grpo"
    paper = "https://arxiv.org/abs/2402.03300"
    sampler = "group"
    invariances = frozenset({"shift", "scale"})

    clip_eps: float = 0.2
    beta: float = 0.04
    mask_floor: float | None = None

    def __post_init__(self):
        require(0 < self.clip_eps < 1, "clip_eps", self.clip_eps, "in (0, 1)")
        require(self.beta >= 0, "beta", self.beta, ">= 0")
        require(self.mask_floor is None or self.mask_floor >= 0, "mask_floor", self.mask_floor, "null or >= 0")

    @property
    def zero_variance_gradient(self) -> str:
        return "none_on_policy" if self.beta > 0 and self.mask_floor is None else "none"

    def loss(self, logp, batch: Batch) -> Loss:
        d = token_sum(logp - batch.logp_old, batch.mask).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
        weight = batch.effective_weight
        advantage = standardize(batch.score, weight, eps=1e-8)
        kl = (-d).expm1() + d
        loss = self.beta * kl - clipped_surrogate(d.exp(), advantage, self.clip_eps)
        if self.mask_floor is None:
            return group_sum(loss, weight), {}
        counts = (standardize(batch.score, weight, floor=self.mask_floor) != 0).any(-1)
        return (counts * (weight * loss).sum(-1)).sum(-1) / counts.sum(-1).clamp_min(1), {}
