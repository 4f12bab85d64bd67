"""Soft sequence policy optimisation."""

from dataclasses import dataclass

from algorithms.aggregate import seq_mean
from algorithms.base import Batch, Loss
from algorithms.gates import LOG_GATES, GatedObjective
from algorithms.ratios import log_ratio, token_average


@dataclass(frozen=True)
class SSPO(GatedObjective):
    """GMPO's weight of a sequence, computed from token ratios that pass SAPO's soft gates.

        w_i = exp((1/|y_i|) sum_t log g(r_t)),    loss = -(1/N) sum_i A_i w_i,    A = z-score
        arctan:   log g = arctan(tau d) / tau,  d = log r        sigmoid:  g = (4/tau) sigmoid(tau (r - 1))

    The paper's normalisation and temperatures are not known here; this form has the right limits. g(r) = r is GSPO
    without a clip (arctan as tau goes to 0), a clipped g is GMPO, and one token with the sigmoid is SAPO. Since
    g'(1) = 1, the gradient at pi_old is GSPO's, whatever g(1) is. The sigmoid is the gate of the paper's first version,
    arctan that of later ones; erf and softsign are as in SAPO. tau depends on the sign of A, as in SAPO. Raises
    ValueError for a tau <= 0 or an unknown gate. https://arxiv.org/abs/2602.19327
    """

    name = "sspo"
    paper = "https://arxiv.org/abs/2602.19327"
    gates = LOG_GATES

    gate: str = "arctan"

    def loss(self, logp, batch: Batch) -> Loss:
        advantage, tau = self.advantage_and_tau(batch)
        log_gated = LOG_GATES[self.gate](log_ratio(logp, batch), tau.unsqueeze(-1))
        return seq_mean(-advantage * token_average(log_gated, batch.mask).exp(), batch.effective_weight), {}
