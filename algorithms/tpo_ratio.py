"""TPO on ratios, for candidates that the policy drew."""

from dataclasses import dataclass

from torch import Tensor

from algorithms.base import Batch
from algorithms.tpo import TPO


@dataclass(frozen=True)
class TPORatio(TPO):
    """TPO with the ratio to the rollout policy in place of the probability of a candidate.

        l_i = sum_t [log pi(y_it) - log pi_old(y_it)]        q_i = softmax_i(u_i / eta)        p_i = softmax_i(l_i)
        loss = -sum_i q_i log p_i,      gradient on l_i: p_i - q_i, which is 1/K - q_i on the first step of a rollout

    p = q where log pi - log pi_old - u / eta is the same for all candidates of a group, as in tpo: one solution, two
    ways to it. On the first step tpo pushes candidate i by q_i - (p_old)_i, in proportion to its probability within the
    group. Where the rollout policy drew the candidates, the draw has weighed them by their probability already. Here
    each draw counts once, and p and q are self-normalised importance weights. All failures of a group are then pushed
    down alike, and long completions need no average, since all ratios are 1 at first. Where a group lists all actions,
    each action counts alike. This form is the suite's own. Mean over contexts. Raises ValueError as tpo does.
    https://arxiv.org/abs/2604.06159
    """

    name = "tpo_ratio"
    paper = "https://arxiv.org/abs/2604.06159"

    def candidate_logp(self, logp: Tensor, batch: Batch) -> Tensor:
        """Log-ratio l (*L,B,K) of each candidate."""
        return super().candidate_logp(logp - batch.logp_old, batch)
