"""Dr. GRPO: GRPO without its two normalisations."""

from dataclasses import dataclass

from algorithms.aggregate import seq_mean_token_sum_norm
from algorithms.base import Batch, Loss, Objective, centre, require
from algorithms.ratios import clipped_surrogate, log_ratio


@dataclass(frozen=True)
class DrGRPO(Objective):
    """PPO's clipped surrogate per token with centred scores, divided by a constant instead of each length.

        loss = -(1/N) sum_i (1/L) sum_t min(r_t A_i, clip(r_t, 1 - clip_eps, 1 + clip_eps) A_i),    A_i = R_i - mean

    Without std, groups count as their scores spread; with a constant L, long wrong answers are not punished less per
    token. L is `budget`, the tokens that an answer may have; null: the room in the batch, which is the generation
    budget. At pi_old it is (K-1)/K times RLOO, over L. Raises ValueError for clip_eps outside (0, 1) or budget < 1.
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
        return seq_mean_token_sum_norm(loss, batch.mask, batch.effective_weight, self.budget), {}
