"""REINFORCE++: PPO with advantages standardised over the whole batch."""

from dataclasses import dataclass

from torch import Tensor

from algorithms.aggregate import token_mean
from algorithms.base import Batch, Loss, Objective, centre, require, standardize
from algorithms.ratios import clipped_surrogate, log_ratio


@dataclass(frozen=True)
class ReinforcePP(Objective):
    """PPO's clipped surrogate per token, with advantages standardised over all rollouts of the batch.

        A_i = (R_i - batch mean) / batch std,    loss = -sum_i sum_t min(r_t A_i, clip(r_t) A_i) / sum_i |y_i|

    By default it takes single rollouts. With `group_baseline` it takes groups, and first subtracts the mean of each
    group from its rewards (REINFORCE++-baseline), so that a group of equal rewards has no gradient. Published
    implementations differ: OpenRLHF adds a KL penalty to the rewards, or k2 to the loss, and averages over tokens or
    over sequences, depending on the version. Raises ValueError for clip_eps outside (0, 1).
    https://arxiv.org/abs/2501.03262
    """

    name = "reinforce_pp"
    paper = "https://arxiv.org/abs/2501.03262"
    invariances = frozenset({"shift", "scale"})
    baseline = "batch"

    clip_eps: float = 0.2
    group_baseline: bool = False

    def __post_init__(self):
        require(0 < self.clip_eps < 1, "clip_eps", self.clip_eps, "in (0, 1)")

    @property
    def sampler(self) -> str:
        return "group" if self.group_baseline else "single"

    @property
    def zero_variance_gradient(self) -> str:
        return "none" if self.group_baseline else "nonzero"

    def advantage(self, batch: Batch) -> Tensor:
        """A (*L,B,K)."""
        weight, score = batch.effective_weight, batch.score.expand_as(batch.weight)
        if not self.group_baseline:
            return standardize(score.flatten(-2), weight.flatten(-2), eps=1e-8).view_as(score)
        centred = centre(score, weight)
        # centred scores have mean 0, but rounding would give a group of equal rewards an advantage
        return (centred != 0) * standardize(centred.flatten(-2), weight.flatten(-2), eps=1e-8).view_as(score)

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = self.advantage(batch).unsqueeze(-1)
        loss = -clipped_surrogate(log_ratio(logp, batch).exp(), advantage, self.clip_eps)
        return token_mean(loss, batch.mask, batch.effective_weight), {}
