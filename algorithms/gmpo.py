"""Geometric mean policy optimisation."""

from dataclasses import dataclass

import torch

from algorithms.aggregate import seq_mean
from algorithms.base import Batch, Loss, Objective, require, standardize
from algorithms.ratios import log_ratio, token_average


@dataclass(frozen=True)
class GMPO(Objective):
    """GRPO with the geometric mean of the clipped token ratios in place of their arithmetic mean.

        c_t = min(d_t, clip) if A_i > 0 else max(d_t, -clip),    w_i = exp((1/|y_i|) sum_t c_t),    A = z-score
        loss = -(1/N) sum_i A_i w_i

    d_t = log pi(y_t) - log pi_old(y_t). A clipped token has no gradient, but still counts in w. So w is at most e^clip
    where A_i > 0, and at least e^-clip elsewhere. `bessel`: the std of a sample, as in verl. Raises ValueError for
    clip <= 0. https://arxiv.org/abs/2507.20673
    """

    name = "gmpo"
    paper = "https://arxiv.org/abs/2507.20673"
    sampler = "group"
    invariances = frozenset({"shift", "scale"})
    zero_variance_gradient = "none"

    clip: float = 0.4
    bessel: bool = False

    def __post_init__(self):
        require(self.clip > 0, "clip", self.clip, "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = standardize(batch.score, batch.effective_weight, eps=1e-8, bessel=self.bessel)
        d = log_ratio(logp, batch)
        bounded = torch.where(advantage.unsqueeze(-1) > 0, d.clamp(max=self.clip), d.clamp(min=-self.clip))
        weight = token_average(bounded, batch.mask).exp()
        return seq_mean(-advantage * weight, batch.effective_weight), {}
