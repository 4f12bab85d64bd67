"""Group relative policy optimisation as published, with a ratio per token and a KL penalty to a reference policy."""

from dataclasses import dataclass

from algorithms.aggregate import seq_mean_token_mean
from algorithms.base import Batch, Loss, Objective, require, standardize
from algorithms.ratios import clipped_surrogate, k3, log_ratio


@dataclass(frozen=True)
class GRPOPublished(Objective):
    """PPO's clipped surrogate per token with group-standardised scores, and a KL penalty to the initial policy.

        A_i = (R_i - mean) / std,    r_t = pi(y_t) / pi_old(y_t),    k3 = exp(x) - x - 1,  x = log pi_ref - log pi
        loss = -(1/N) sum_i (1/|y_i|) sum_t [ min(r_t A_i, clip(r_t, 1 - clip_eps, 1 + clip_eps) A_i) - beta k3_t ]

    Where a group has equal scores, A is 0 and the penalty alone moves the policy, towards the initial policy. Under an
    optimiser of fixed step length it takes a whole step, whatever beta is. Published implementations differ: TRL and
    verl divide by the std of a sample (`bessel`), and TRL later set beta to 0 and averages over all tokens. The form
    that the TPO paper compares with is grpo. Raises ValueError for clip_eps outside (0, 1) or beta < 0.
    https://arxiv.org/abs/2402.03300
    """

    name = "grpo_published"
    paper = "https://arxiv.org/abs/2402.03300"
    sampler = "group"
    invariances = frozenset({"shift", "scale"})

    clip_eps: float = 0.2
    beta: float = 0.04
    bessel: bool = False

    def __post_init__(self):
        require(0 < self.clip_eps < 1, "clip_eps", self.clip_eps, "in (0, 1)")
        require(self.beta >= 0, "beta", self.beta, ">= 0")

    @property
    def needs_reference(self) -> bool:
        return self.beta > 0

    @property
    def zero_variance_gradient(self) -> str:
        return "nonzero" if self.needs_reference else "none"

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = standardize(batch.score, batch.effective_weight, eps=1e-8, bessel=self.bessel).unsqueeze(-1)
        loss = -clipped_surrogate(log_ratio(logp, batch).exp(), advantage, self.clip_eps)
        if self.needs_reference:
            loss = loss + self.beta * k3(logp, batch.logp_ref)
        return seq_mean_token_mean(loss, batch.mask, batch.effective_weight), {}
