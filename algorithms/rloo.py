"""REINFORCE leave-one-out."""

from dataclasses import dataclass

from algorithms.aggregate import seq_mean_token_sum
from algorithms.base import Batch, Loss, Objective, leave_one_out


@dataclass(frozen=True)
class RLOO(Objective):
    """REINFORCE on whole candidates, each measured against the mean of the others in its group.

        loss = -(1/N) sum_i A_i l_i,    A_i = R_i - mean_{j != i} R_j = K/(K-1) (R_i - mean)

    The gradient is unbiased at the rollout policy. It takes one epoch, since it has no ratio that would correct a later
    one. Published implementations differ: TRL adds a KL penalty to the reward and clips a ratio to take several epochs,
    verl averages over tokens. https://arxiv.org/abs/2402.14740
    """

    name = "rloo"
    paper = "https://arxiv.org/abs/2402.14740"
    sampler = "group"
    invariances = frozenset({"shift"})
    zero_variance_gradient = "none"
    shift_invariant_in_logp = True
    epochs = 1

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = leave_one_out(batch.score, batch.effective_weight).unsqueeze(-1)
        return seq_mean_token_sum(-advantage * logp, batch.mask, batch.effective_weight), {}
