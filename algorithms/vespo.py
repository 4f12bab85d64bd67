"""Variational sequence-level soft policy optimisation."""

from dataclasses import dataclass

from algorithms.aggregate import token_mean
from algorithms.base import Batch, Loss, Objective, require, standardize, token_sum
from algorithms.gates import by_sign
from algorithms.ratios import log_ratio


@dataclass(frozen=True)
class VESPO(Objective):
    """REINFORCE with one weight per sequence, which fades for unlikely and for much likelier sequences alike.

        w_i = exp(sum_t d_t),    phi_i = w_i^k exp(lam (1 - w_i)),    A = z-score
        loss = -sum_i sum_t sg[phi_i] A_i log pi(y_t) / sum_i |y_i|

    phi is 1 at w = 1, largest at w = k / lam, and needs no clip. k and lam depend on the sign of A. w is the ratio of
    the whole sequence, not GSPO's geometric mean, so that long sequences leave the range sooner. `bessel`: the std of a
    sample, as in TRL. Raises ValueError for a k or lam <= 0. https://arxiv.org/abs/2602.10693
    """

    name = "vespo"
    paper = "https://arxiv.org/abs/2602.10693"
    sampler = "group"
    invariances = frozenset({"shift", "scale"})
    zero_variance_gradient = "none"
    stop_gradient = True

    k_pos: float = 2.0
    lam_pos: float = 3.0
    k_neg: float = 3.0
    lam_neg: float = 2.0
    bessel: bool = False

    def __post_init__(self):
        for key in ("k_pos", "lam_pos", "k_neg", "lam_neg"):
            require(getattr(self, key) > 0, key, getattr(self, key), "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = standardize(batch.score, batch.effective_weight, eps=1e-8, bessel=self.bessel)
        k = by_sign(advantage, self.k_pos, self.k_neg)
        lam = by_sign(advantage, self.lam_pos, self.lam_neg)
        log_w = token_sum(log_ratio(logp, batch), batch.mask).detach()
        phi = (k * log_w - lam * log_w.expm1()).exp()
        return token_mean(-(phi * advantage).unsqueeze(-1) * logp, batch.mask, batch.effective_weight), {}
