"""Soft adaptive policy optimisation."""

from dataclasses import dataclass

from algorithms.aggregate import seq_mean_token_mean
from algorithms.base import Batch, Loss
from algorithms.gates import GATES, GatedObjective
from algorithms.ratios import log_ratio


@dataclass(frozen=True)
class SAPO(GatedObjective):
    """GRPO with a soft gate on the ratio of each token in place of the clip.

        loss = -(1/N) sum_i (1/|y_i|) sum_t f(r_t) A_i,    f(r) = (4/tau) sigmoid(tau (r - 1)),    A = z-score

    tau is `tau_pos` where A > 0 and `tau_neg` elsewhere, so that wrong answers move less far. Since f'(1) = 1, the
    gradient at pi_old is GRPO's. With tau near 1 the gate hardly limits the ratio, and later epochs on a rollout gain
    little. https://arxiv.org/abs/2602.19345 prefers 10 and 12 for several epochs, and proposes the other gates: erf,
    arctan, softsign. `bessel`: the std of a sample, as in TRL. Raises ValueError for a tau <= 0 or an unknown gate.
    https://arxiv.org/abs/2511.20347
    """

    name = "sapo"
    paper = "https://arxiv.org/abs/2511.20347"
    gates = GATES

    def loss(self, logp, batch: Batch) -> Loss:
        advantage, tau = (x.unsqueeze(-1) for x in self.advantage_and_tau(batch))
        gated = GATES[self.gate](log_ratio(logp, batch).exp(), tau)
        return seq_mean_token_mean(-gated * advantage, batch.mask, batch.effective_weight), {}
