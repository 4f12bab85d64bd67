"""Soft sequence policy optimisation."""

from dataclasses import dataclass

from algorithms.aggregate import seq_mean
from algorithms.base import Batch, Loss, Objective, require, standardize
from algorithms.gates import LOG_GATES, temperature
from algorithms.ratios import log_ratio, token_average


@dataclass(frozen=True)
class SSPO(Objective):
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
    sampler = "group"
    invariances = frozenset({"shift", "scale"})
    zero_variance_gradient = "none"

    gate: str = "arctan"
    tau_pos: float = 1.0
    tau_neg: float = 1.05
    bessel: bool = False

    def __post_init__(self):
        require(self.gate in LOG_GATES, "gate", self.gate, f"one of {', '.join(LOG_GATES)}")
        require(self.tau_pos > 0, "tau_pos", self.tau_pos, "> 0")
        require(self.tau_neg > 0, "tau_neg", self.tau_neg, "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = standardize(batch.score, batch.effective_weight, eps=1e-8, bessel=self.bessel)
        tau = temperature(advantage, self.tau_pos, self.tau_neg).unsqueeze(-1)
        log_gated = LOG_GATES[self.gate](log_ratio(logp, batch), tau)
        return seq_mean(-advantage * token_average(log_gated, batch.mask).exp(), batch.effective_weight), {}
