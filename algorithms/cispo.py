"""Clipped importance sampling policy optimisation."""

from dataclasses import dataclass

from algorithms.aggregate import token_mean
from algorithms.base import Batch, Loss, Objective, require, standardize
from algorithms.ratios import log_ratio


@dataclass(frozen=True)
class CISPO(Objective):
    """REINFORCE with capped importance weights that are not differentiated, so that every token keeps a gradient.

        loss = -sum_i sum_t sg[min(r_t, cap)] A_i log pi(y_t) / sum_i |y_i|,    A = z-score

    The cap limits weights, not steps, so that later epochs on a rollout gain little where the optimiser's steps are
    large. `cap` bounds the ratio itself: 1 + epsilon_high in the paper and verl, epsilon_high in TRL; 5 is ScaleRL's
    value. The paper also mentions a lower bound, without a value. `bessel`: the std of a sample, as in TRL and verl.
    Raises ValueError for cap <= 0. https://arxiv.org/abs/2506.13585
    """

    name = "cispo"
    paper = "https://arxiv.org/abs/2506.13585"
    sampler = "group"
    invariances = frozenset({"shift", "scale"})
    zero_variance_gradient = "none"
    stop_gradient = True

    cap: float = 5.0
    bessel: bool = False

    def __post_init__(self):
        require(self.cap > 0, "cap", self.cap, "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = standardize(batch.score, batch.effective_weight, eps=1e-8, bessel=self.bessel).unsqueeze(-1)
        ratio = log_ratio(logp, batch).detach().exp().clamp(max=self.cap)
        return token_mean(-ratio * advantage * logp, batch.mask, batch.effective_weight), {}
