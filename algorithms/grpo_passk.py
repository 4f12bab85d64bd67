"""GRPO for pass@k: an answer is worth what it adds to the best of k."""

from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.aggregate import seq_mean_token_mean
from algorithms.base import Batch, Loss, Objective, require, standardize
from algorithms.ratios import clipped_surrogate, log_ratio


@dataclass(frozen=True)
class GRPOPassK(Objective):
    """PPO's clipped surrogate with the gain of each answer in the best score of k draws.

        A_i = mean over T of max(z_i - max_{j in T} z_j, 0),    T: all sets of k-1 other answers,  z: z-score
        loss = -(1/N) sum_i (1/|y_i|) sum_t min(r_t A_i, clip(r_t, 1 - clip_eps, 1 + clip_eps) A_i)

    With rewards 0 or 1 and c right answers of K, a right one has A = C(K-c, k-1) / C(K-1, k-1) up to the std, a wrong
    one 0. So A vanishes where fewer than k-1 answers are wrong, and the method stops at a good pass@k. k = null is the
    whole group, as in verl: the best answer alone counts, by its lead on the second, so that a group with two right
    ones teaches nothing; a smaller k takes all sets of k from the group. A group of fewer than k answers takes them
    all. `bessel`: the std of a sample, as in verl. Raises ValueError for clip_eps outside (0, 1) or k < 2.
    https://arxiv.org/abs/2503.19595
    """

    name = "grpo_passk"
    paper = "https://arxiv.org/abs/2503.19595"
    sampler = "group"
    invariances = frozenset({"shift", "scale"})
    zero_variance_gradient = "none"

    clip_eps: float = 0.2
    k: int | None = 4
    bessel: bool = False

    def __post_init__(self):
        require(0 < self.clip_eps < 1, "clip_eps", self.clip_eps, "in (0, 1)")
        require(self.k is None or self.k >= 2, "k", self.k, "null or >= 2")

    def loss(self, logp, batch: Batch) -> Loss:
        weight = batch.effective_weight
        score = standardize(batch.score, weight, eps=1e-8, bessel=self.bessel)
        advantage = gain_in_best(score, weight > 0, self.k).unsqueeze(-1)
        loss = -clipped_surrogate(log_ratio(logp, batch).exp(), advantage, self.clip_eps)
        return seq_mean_token_mean(loss, batch.mask, weight), {}


def gain_in_best(score: Tensor, present: Tensor, k: int | None) -> Tensor:
    """Mean over all sets T of k-1 other answers of max(score_i - max of T, 0): (*L,B,K). Only those present count.

    Of n answers, the one with j others below it is the best of C(j, k-2) sets T, of C(n-1, k-1).
    """
    n = present.sum(-1, keepdim=True).clamp_min(2)
    k = n if k is None else n.clamp(max=k)
    below = torch.where(present, score, torch.inf).argsort(dim=-1, stable=True).argsort(dim=-1)
    log_share = _log_choose(below, k - 2) - _log_choose(n - 1, k - 1)
    share = torch.where(present & (below >= k - 2), log_share.exp(), 0.0).to(score.dtype)
    lead = (score.unsqueeze(-1) - score.unsqueeze(-2)).clamp_min(0)
    return (lead * share.unsqueeze(-2)).sum(-1)


def _log_choose(n: Tensor, k: Tensor) -> Tensor:
    """log of the binomial coefficient n over k; without meaning where k > n."""
    n, k = n.double(), k.double()
    return (n + 1).lgamma() - (k + 1).lgamma() - (n - k + 1).lgamma()
