"""Length-unbiased sequence policy optimisation."""

from dataclasses import dataclass

from algorithms.aggregate import seq_mean
from algorithms.base import Batch, Loss, Objective, require, standardize
from algorithms.ratios import clipped_surrogate, lengths, log_ratio, token_average


@dataclass(frozen=True)
class LUSPO(Objective):
    """GSPO with each sequence weighted by its length, so that long answers are not punished less per token.

        s_i = exp((1/|y_i|) sum_t d_t),    A = z-score
        loss = -(1/N) sum_i |y_i| min(s_i A_i, clip(s_i, 1 - clip_low, 1 + clip_high) A_i)

    The gradient of s_i is the mean of those of its tokens; times |y_i| it is their sum, as in REINFORCE. The clip range
    is GSPO's. `bessel`: the std of a sample, as in TRL. Raises ValueError for clip_low outside (0, 1) or
    clip_high <= 0. https://arxiv.org/abs/2602.05261
    """

    name = "luspo"
    paper = "https://arxiv.org/abs/2602.05261"
    sampler = "group"
    invariances = frozenset({"shift", "scale"})
    zero_variance_gradient = "none"

    clip_low: float = 3e-4
    clip_high: float = 4e-4
    bessel: bool = False

    def __post_init__(self):
        require(0 < self.clip_low < 1, "clip_low", self.clip_low, "in (0, 1)")
        require(self.clip_high > 0, "clip_high", self.clip_high, "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = standardize(batch.score, batch.effective_weight, eps=1e-8, bessel=self.bessel)
        ratio = token_average(log_ratio(logp, batch), batch.mask).exp()
        surrogate = clipped_surrogate(ratio, advantage, self.clip_low, self.clip_high)
        return seq_mean(-lengths(logp, batch.mask) * surrogate, batch.effective_weight), {}
