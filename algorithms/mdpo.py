"""Mirror descent policy optimisation, without a critic."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, Objective, group_mean, require, token_sum
from algorithms.ratios import log_ratio


@dataclass(frozen=True)
class MDPO(Objective):
    """Several gradient steps on the advantage minus the KL divergence to the rollout policy.

        loss = sum_t [ -r_t A_t + (1/t) (r_t d_t - r_t + 1) ],    d_t = log r_t = log pi(y_t) - log pi_old(y_t)

    In expectation over draws of pi_old, the term r d - r + 1 is KL(pi, pi_old). It is never negative, and its gradient
    is 0 at pi_old. `t` is the paper's step size t_k, which the paper decreases over training. The environment's
    baseline replaces the critic. Sum over tokens, mean over rollouts. Raises ValueError for t <= 0.
    https://arxiv.org/abs/2005.09814
    """

    name = "mdpo"
    paper = "https://arxiv.org/abs/2005.09814"
    sampler = "single"
    zero_variance_gradient = "none_on_policy"

    t: float = 1.0

    def __post_init__(self):
        require(self.t > 0, "t", self.t, "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        d = log_ratio(logp, batch)
        loss = -d.exp() * batch.advantage + (d.exp() * d - d.expm1()) / self.t
        return group_mean(token_sum(loss, batch.mask), batch.weight), {}
