"""Decoupled clip and dynamic sampling policy optimisation."""

from dataclasses import dataclass

from algorithms.aggregate import token_mean, weight_of_unequal_groups
from algorithms.base import Batch, Loss, Objective, require, standardize
from algorithms.ratios import clipped_surrogate, log_ratio


@dataclass(frozen=True)
class DAPO(Objective):
    """GRPO without KL, with a higher upper clip bound, averaged over all tokens.

        loss = -sum_i sum_t min(r_t A_i, clip(r_t, 1 - clip_low, 1 + clip_high) A_i) / sum_i |y_i|,    A = z-score

    The paper draws again until every group has both right and wrong answers. A loss cannot draw. Here a group of equal
    scores has no gradient, and its tokens do not count in the mean, so that the step is that of the other groups; with
    `count_flat` its tokens do count. The paper's penalty for overlong answers belongs to the reward. `bessel`: the std
    of a sample, as in verl. Raises ValueError for clip_low outside (0, 1) or clip_high <= 0.
    https://arxiv.org/abs/2503.14476
    """

    name = "dapo"
    paper = "https://arxiv.org/abs/2503.14476"
    sampler = "group"
    invariances = frozenset({"shift", "scale"})
    zero_variance_gradient = "none"

    clip_low: float = 0.2
    clip_high: float = 0.28
    count_flat: bool = False
    bessel: bool = False

    def __post_init__(self):
        require(0 < self.clip_low < 1, "clip_low", self.clip_low, "in (0, 1)")
        require(self.clip_high > 0, "clip_high", self.clip_high, "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = standardize(batch.score, batch.effective_weight, eps=1e-8, bessel=self.bessel)
        weight = batch.effective_weight
        weight = weight if self.count_flat else weight_of_unequal_groups(weight, advantage)
        ratio = log_ratio(logp, batch).exp()
        loss = -clipped_surrogate(ratio, advantage.unsqueeze(-1), self.clip_low, self.clip_high)
        return token_mean(loss, batch.mask, weight), {}
