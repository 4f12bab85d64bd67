"""Dr. GRPO: GRPO without its two normalisations."""

from dataclasses import dataclass

from algorithms.aggregate import seq_mean_token_sum
from algorithms.base import Batch, Loss, Objective, centre, require
from algorithms.ratios import clipped_surrogate, log_ratio


@dataclass(frozen=True)
class DrGRPO(Objective):
    """PPO's clipped surrogate per token with centred scores, divided by a constant instead of each length.

        loss = -(1/N) sum_i (1/L) sum_t min(r_t A_i, clip(r_t, 1 - clip_eps, 1 + clip_eps) A_i),    A_i = R_i - mean

    Without the division by std, a group has more weight the more its scores spread. With a constant L, the tokens of a
    long wrong answer are punished as much as those of a short one. L is `budget`; null: the length of the batch's
    tensors, which is the generation budget. At pi_old its gradient is (K-1)/K times RLOO's, divided by L. Raises
    ValueError for clip_eps outside (0, 1) or budget < 1.
    https://arxiv.org/abs/2503.20783
    """

    name = "dr_grpo"
    paper = "https://arxiv.org/abs/2503.20783"
    sampler = "group"
    invariances = frozenset({"shift"})
    zero_variance_gradient = "none"

    clip_eps: float = 0.2
    budget: int | None = None

    def __post_init__(self):
        require(0 < self.clip_eps < 1, "clip_eps", self.clip_eps, "in (0, 1)")
        require(self.budget is None or self.budget >= 1, "budget", self.budget, "null or >= 1")

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = centre(batch.score, batch.effective_weight).unsqueeze(-1)
        loss = -clipped_surrogate(log_ratio(logp, batch).exp(), advantage, self.clip_eps)
        total = seq_mean_token_sum(loss, batch.mask, batch.effective_weight)
        return total / (self.budget or loss.shape[-1]), {}
