"""Clip-Cov: PPO that leaves out tokens whose covariance with the advantage is large."""

from dataclasses import dataclass

from algorithms.aggregate import token_mean, weight_of_unequal_groups
from algorithms.base import Batch, Loss, Objective, require, standardize
from algorithms.covariance import is_in_top_fraction, token_covariance
from algorithms.ratios import clipped_surrogate, log_ratio


@dataclass(frozen=True)
class ClipCov(Objective):
    """PPO's clipped surrogate without the few tokens that would lower the entropy most.

        c_t = (A_i - mean A) (log pi(y_t) - mean log pi),    A = z-score,  means over all tokens
        loss = -sum_i sum_t m_t min(r_t A_i, clip(r_t, 1 - clip_eps, 1 + clip_eps) A_i) / sum_i |y_i|

    m_t = 0 for a share `share` of the tokens, at least one, of those with c_t in (cov_low, cov_high) that PPO's clip
    does not bind. verl, which follows the authors, draws them at random; a loss cannot draw, and here they are those
    of largest c_t. A group of equal scores counts neither in the means nor in the average. Raises ValueError for
    clip_eps outside (0, 1), share outside (0, 1] or cov_low >= cov_high. https://arxiv.org/abs/2505.22617
    """

    name = "clip_cov"
    paper = "https://arxiv.org/abs/2505.22617"
    sampler = "group"
    invariances = frozenset({"shift", "scale"})
    zero_variance_gradient = "none"

    clip_eps: float = 0.2
    share: float = 2e-4
    cov_low: float = 1.0
    cov_high: float = 5.0
    bessel: bool = False

    def __post_init__(self):
        require(0 < self.clip_eps < 1, "clip_eps", self.clip_eps, "in (0, 1)")
        require(0 < self.share <= 1, "share", self.share, "in (0, 1]")
        require(self.cov_low < self.cov_high, "cov_low", self.cov_low, f"< cov_high={self.cov_high}")

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = standardize(batch.score, batch.effective_weight, eps=1e-8, bessel=self.bessel)
        weight = weight_of_unequal_groups(batch.effective_weight, advantage)
        ratio, a = log_ratio(logp, batch).exp(), advantage.unsqueeze(-1)
        surrogate = clipped_surrogate(ratio, a, self.clip_eps)
        covariance = token_covariance(logp, advantage, batch.mask, weight)
        eligible = (covariance > self.cov_low) & (covariance < self.cov_high) & (surrogate == ratio * a)
        left_out = is_in_top_fraction(covariance, self.share, eligible)
        return token_mean(-surrogate * ~left_out, batch.mask, weight), {}
