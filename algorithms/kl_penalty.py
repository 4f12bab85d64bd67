"""A KL penalty to a reference policy, as an objective that wraps another one."""

from dataclasses import dataclass

from torch import Tensor

from algorithms.aggregate import token_mean
from algorithms.base import Batch, Loss, Objective, require
from algorithms.ratios import k3


@dataclass(frozen=True)
class KLPenalty(Objective):
    """The loss of another objective, plus a penalty for the distance to the reference policy.

        loss + beta sum_i sum_t k3_t / sum_i |y_i|,    k3 = exp(x) - x - 1,  x = log pi_ref - log pi

    The mean of k3 over tokens drawn from pi is KL(pi, pi_ref) per token, in nats. It is the metric `kl_reference`. The
    penalty has a gradient in every group, also where the objective itself has none. Raises ValueError for beta <= 0.
    http://joschu.net/blog/kl-approx.html
    """

    zero_variance_gradient = "nonzero"
    needs_reference = True

    objective: Objective
    beta: float

    def __post_init__(self):
        require(self.beta > 0, "beta", self.beta, "> 0")

    name = property(lambda self: self.objective.name)
    paper = property(lambda self: self.objective.paper)
    sampler = property(lambda self: self.objective.sampler)
    epochs = property(lambda self: self.objective.epochs)
    baseline = property(lambda self: self.objective.baseline)
    invariances = property(lambda self: self.objective.invariances)
    stop_gradient = property(lambda self: self.objective.stop_gradient)

    def loss(self, logp: Tensor, batch: Batch) -> Loss:
        loss, metrics = self.objective.loss(logp, batch)
        penalty = token_mean(k3(logp, batch.logp_ref), batch.mask, batch.effective_weight)
        return loss + self.beta * penalty, metrics | {"kl_reference": penalty}
