"""Target Policy Optimization."""

from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.base import Batch, Loss, Objective, log_softmax, require, softmax, standardize, token_sum
from algorithms.ratios import token_average

EXCLUDED_LOGP = -1e9  # nats: log-prob that leaves a candidate out of its group's softmax


@dataclass(frozen=True)
class TPO(Objective):
    """Fit the policy by cross-entropy to a target: the rollout policy, tilted towards the better candidates of a group.

        u_i = (s_i - mean) / std        q_i = softmax_i(l_old_i + u_i / eta)        p_i = softmax_i(l_i)
        loss = -sum_i q_i log p_i,      gradient on l_i: p_i - q_i, which vanishes at the target

    l_i = sum_t log pi(y_it) is the log-prob of candidate i, and q maximises <r, u> - eta KL(r || p_old) over r. Where
    std <= std_floor, u = 0, so that such a group pulls the policy back to p_old. `anchor=false` leaves l_old out of q.
    `length_normalize` divides l and l_old by the number of tokens. The log-probs of long completions differ by tens of
    nats, which makes p_old one-hot and the gradient vanish. The paper's form is the sum; the author's proposal for
    language models (TRL, pull request 5591) is the average. A candidate without a token leaves its group. Mean over
    contexts. Raises ValueError for eta <= 0 or std_floor < 0. https://arxiv.org/abs/2604.06159
    """

    name = "tpo"
    paper = "https://arxiv.org/abs/2604.06159"
    sampler = "set"
    invariances = frozenset({"shift", "scale"})
    shift_invariant_in_logp = True

    eta: float = 1.0
    anchor: bool = True
    std_floor: float = 1e-6
    length_normalize: bool = False

    def __post_init__(self):
        require(self.eta > 0, "eta", self.eta, "> 0")
        require(self.std_floor >= 0, "std_floor", self.std_floor, ">= 0")

    @property
    def zero_variance_gradient(self) -> str:
        return "none_on_policy" if self.anchor else "nonzero"

    def candidate_logp(self, logp: Tensor, batch: Batch) -> Tensor:
        """Log-prob l (*L,B,K) of each candidate."""
        found = (token_average if self.length_normalize else token_sum)(logp, batch.mask)
        excluded = max(EXCLUDED_LOGP, torch.finfo(found.dtype).min / 2)  # float16 ends at -65504
        return found if batch.candidate_mask is None else found.masked_fill(batch.candidate_mask == 0, excluded)

    def target(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Standardised scores u and target q (*L,B,K)."""
        u = standardize(batch.score, batch.candidate_mask, floor=self.std_floor)
        l_old = self.candidate_logp(batch.logp_old * float(self.anchor), batch)
        return u, softmax(l_old + u / self.eta)

    def loss(self, logp, batch: Batch) -> Loss:
        _, q = self.target(batch)
        return -(q * log_softmax(self.candidate_logp(logp, batch))).sum(-1).mean(-1), {}
