"""REBEL: regression of reward differences on differences of log-ratios."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, Objective, bessel_correction, centre, normalized, require, token_sum


@dataclass(frozen=True)
class REBEL(Objective):
    """Least squares between the reward differences that the policy implies and the true ones, over pairs of a group.

        loss = mean over pairs ((dl_i - dl_j) / eta - (R_i - R_j))^2 = 2/(K-1) sum_i (x_i - mean)^2,  x = dl / eta - R

    dl_i = sum_t log pi(y_it) - log pi_old(y_it). The minimum is pi = pi_old exp(eta R) / Z; the unknown Z of a context
    cancels in each pair. A group of an image bandit joins draws for different images, whose Z differ and do not cancel.
    A group of equal rewards pulls the policy back to pi_old. The paper takes one pair per prompt; this loss takes all
    pairs. Mean over contexts. Raises ValueError for eta <= 0. https://arxiv.org/abs/2404.16767
    """

    name = "rebel"
    paper = "https://arxiv.org/abs/2404.16767"
    sampler = "group"
    invariances = frozenset({"shift"})
    zero_variance_gradient = "none_on_policy"
    shift_invariant_in_logp = True

    eta: float = 1.0

    def __post_init__(self):
        require(self.eta > 0, "eta", self.eta, "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        weight = batch.effective_weight
        residual = token_sum(logp - batch.logp_old, batch.mask) / self.eta - batch.score
        variance = (normalized(weight) * bessel_correction(weight) * centre(residual, weight).square()).sum(-1)
        return 2 * variance.mean(-1), {}
