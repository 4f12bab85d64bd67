"""Group policy gradient."""

from dataclasses import dataclass

from torch import Tensor

from algorithms.aggregate import token_mean, weight_of_unequal_groups
from algorithms.base import Batch, Loss, Objective, centre, require


@dataclass(frozen=True)
class GPG(Objective):
    """REINFORCE with centred scores, scaled up by the share of groups that teach something.

        loss = -alpha sum_i sum_t A_i log pi(y_t) / sum_i |y_i|,    A_i = (R_i - mean) / f_norm

    alpha = B / (B - M), where M of the B groups have equal scores, so that the step is as long as if they had not been
    drawn. There is no ratio, no clip, no KL. verl takes for alpha the number of answers over that of answers with a
    score other than 0. Raises ValueError for f_norm <= 0. https://arxiv.org/abs/2504.02546
    """

    name = "gpg"
    paper = "https://arxiv.org/abs/2504.02546"
    sampler = "group"
    invariances = frozenset({"shift"})
    zero_variance_gradient = "none"
    shift_invariant_in_logp = True

    f_norm: float = 1.0

    def __post_init__(self):
        require(self.f_norm > 0, "f_norm", self.f_norm, "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        weight = batch.effective_weight
        advantage = centre(batch.score, weight) / self.f_norm
        alpha = _groups(weight) / _groups(weight_of_unequal_groups(weight, advantage)).clamp_min(1)
        return alpha * token_mean(-advantage.unsqueeze(-1) * logp, batch.mask, weight), {}


def _groups(weight: Tensor) -> Tensor:
    """The number of groups in which a candidate has weight: (*L,B,K) -> (*L,)."""
    return (weight > 0).any(-1).sum(-1).to(weight.dtype)
