"""Policy gradient (REINFORCE)."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, Objective, group_mean, token_sum


@dataclass(frozen=True)
class PG(Objective):
    """REINFORCE with the environment's baseline.

        loss = -sum_t A_t log pi(y_t),    A_t = reward_t - baseline_t

    Sum over tokens, mean over rollouts. It has no ratio that would correct the later epochs on a rollout.
    https://doi.org/10.1007/BF00992696
    """

    name = "pg"
    paper = "https://doi.org/10.1007/BF00992696"
    sampler = "single"
    zero_variance_gradient = "none"

    def loss(self, logp, batch: Batch) -> Loss:
        return group_mean(token_sum(-batch.advantage * logp, batch.mask), batch.weight), {}
