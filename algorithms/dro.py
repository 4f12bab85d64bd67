"""Direct reward optimisation."""

from dataclasses import dataclass

from algorithms.aggregate import seq_mean, token_mean
from algorithms.base import Batch, Loss, Objective, centre, require, token_sum
from algorithms.ratios import log_ratio


@dataclass(frozen=True)
class DRO(Objective):
    """Least squares between the advantage of an answer and the log-ratio that the best policy would have.

        loss = -(1/N) sum_i [ A_i l_i - (tau/2) dl_i^2 ],    l_i = sum_t log pi(y_t),  dl_i = sum_t d_t

    Up to a constant this is (1/(2 tau)) (A_i - tau dl_i)^2, whose minimum is pi = pi_old exp(A / tau) / Z. The paper
    learns the value of the prompt beside the policy; here A is the score minus the mean of its group, and the rollout
    policy is the reference. `token_level` is verl's form: the same terms with d_t of each token, averaged over all
    tokens. A group of equal scores pulls the policy back to pi_old. Raises ValueError for tau <= 0.
    https://arxiv.org/abs/2405.19107
    """

    name = "dro"
    paper = "https://arxiv.org/abs/2405.19107"
    sampler = "group"
    invariances = frozenset({"shift"})
    zero_variance_gradient = "none_on_policy"

    tau: float = 1.0
    token_level: bool = False

    def __post_init__(self):
        require(self.tau > 0, "tau", self.tau, "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        advantage, d = centre(batch.score, batch.effective_weight), log_ratio(logp, batch)
        if self.token_level:
            loss = -advantage.unsqueeze(-1) * logp + self.tau / 2 * d.square()
            return token_mean(loss, batch.mask, batch.effective_weight), {}
        loss = -advantage * token_sum(logp, batch.mask) + self.tau / 2 * token_sum(d, batch.mask).square()
        return seq_mean(loss, batch.effective_weight), {}
