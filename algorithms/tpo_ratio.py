"""TPO on ratios, in which every draw counts alike."""

from dataclasses import dataclass

from torch import Tensor

from algorithms.base import TINY, Batch
from algorithms.tpo import TPO


@dataclass(frozen=True)
class TPORatio(TPO):
    """TPO over the ratios to the rollout policy, in which every draw counts alike.

        l_i = log w_i + sum_t [log pi(y_it) - log pi_old(y_it)]    q_i = softmax_i(l_old_i + u_i / eta), l_old = log w
        loss = -sum_i q_i log p_i,    p_i = softmax_i(l_i),        gradient on l_i: p_i - q_i

    The weight w is the same for all samples of a group. So p_i = 1/K on the first step of a rollout, where TPO has the
    probability of candidate i within the group, (p_old)_i, although the draw has weighed by it already. p = q where
    log pi - log pi_old - u / eta is the same for all candidates: TPO's own solution, reached with other weights. All
    failures of a group are pushed down alike at first, and long completions need no average, since all ratios are 1
    there. In an exact expectation over all actions w = pi_old, l = log pi, and the loss is TPO's. `anchor=false`: l_old
    is log w_i - sum_t log pi_old(y_it), so that p = q where log pi - u / eta is the same. This form is the suite's own.
    Mean over contexts. Raises ValueError as tpo does. https://arxiv.org/abs/2604.06159
    """

    name = "tpo_ratio"
    paper = "https://arxiv.org/abs/2604.06159"
    sampler = "group"

    def candidate_logp(self, logp: Tensor, batch: Batch) -> Tensor:
        """Log-weight l (*L,B,K) of each candidate."""
        return super().candidate_logp(logp - batch.logp_old, batch) + batch.weight.clamp_min(TINY).log()
