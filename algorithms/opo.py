"""On-policy optimisation with the optimal reward baseline."""

from dataclasses import dataclass

from algorithms.aggregate import seq_mean_token_sum
from algorithms.base import Batch, Loss, Objective, centre
from algorithms.ratios import lengths


@dataclass(frozen=True)
class OPO(Objective):
    """REINFORCE with the baseline of least variance, for one step on each rollout.

        loss = -(1/N) sum_i A_i sum_t log pi(y_t),    A_i = R_i - sum_j |y_j| R_j / sum_j |y_j|

    The best constant baseline weighs each reward by the squared norm of its answer's score function. The paper takes
    that norm to grow with the number of tokens. With equal lengths the baseline is the mean. There is no std, no KL, no
    ratio: the paper takes one exact step. verl takes the same advantage, averages over tokens and clips a ratio.
    https://arxiv.org/abs/2505.23585
    """

    name = "opo"
    paper = "https://arxiv.org/abs/2505.23585"
    sampler = "group"
    invariances = frozenset({"shift"})
    zero_variance_gradient = "none"
    shift_invariant_in_logp = True
    epochs = 1

    def loss(self, logp, batch: Batch) -> Loss:
        weight = batch.effective_weight
        advantage = centre(batch.score, weight * lengths(logp, batch.mask)).unsqueeze(-1)
        return seq_mean_token_sum(-advantage * logp, batch.mask, weight), {}
