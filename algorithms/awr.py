"""Advantage-weighted regression, without a critic."""

from dataclasses import dataclass

from algorithms.aggregate import seq_mean_token_sum
from algorithms.base import Batch, Loss, Objective, centre, require, standardize


@dataclass(frozen=True)
class AWR(Objective):
    """Supervised learning on sampled candidates, each weighted by the exponential of its advantage.

        loss = -(1/N) sum_i min(exp(A_i / beta), cap) l_i,    A_i = R_i - mean of the group, over std if `normalize`

    The paper's advantage comes from a critic on a replay buffer; its code standardises it, with beta 1 and cap 20. All
    weights are positive, also those of a group of equal rewards. So the entropy of the policy falls even where nothing
    succeeds. It also falls over many epochs on one rollout. Raises ValueError for beta or cap <= 0.
    https://arxiv.org/abs/1910.00177
    """

    name = "awr"
    paper = "https://arxiv.org/abs/1910.00177"
    sampler = "group"

    beta: float = 1.0
    cap: float = 20.0
    normalize: bool = True

    def __post_init__(self):
        require(self.beta > 0, "beta", self.beta, "> 0")
        require(self.cap > 0, "cap", self.cap, "> 0")

    @property
    def invariances(self) -> frozenset[str]:
        return frozenset({"shift", "scale"} if self.normalize else {"shift"})

    def loss(self, logp, batch: Batch) -> Loss:
        score, weight = batch.score, batch.effective_weight
        advantage = standardize(score, weight, eps=1e-8) if self.normalize else centre(score, weight)
        regression = (advantage / self.beta).exp().clamp(max=self.cap).unsqueeze(-1)
        return seq_mean_token_sum(-regression * logp, batch.mask, weight), {}
