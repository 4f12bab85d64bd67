"""Delightful policy gradient."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, Objective, group_mean, require, token_sum


@dataclass(frozen=True)
class DG(Objective):
    """REINFORCE gated by delight, the advantage times the surprise of the token.

        loss = -sum_t sg[sigmoid(A_t * -log pi(y_t) / eta) A_t] log pi(y_t)

    Sum over tokens, mean over rollouts. It takes one epoch, since it has no ratio that would correct a later one.
    Raises ValueError for eta <= 0. https://arxiv.org/abs/2603.14608
    """

    name = "dg"
    paper = "https://arxiv.org/abs/2603.14608"
    sampler = "single"
    zero_variance_gradient = "none"
    epochs = 1
    stop_gradient = True

    eta: float = 1.0

    def __post_init__(self):
        require(self.eta > 0, "eta", self.eta, "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = batch.advantage
        gate = (advantage * -logp.detach() / self.eta).sigmoid()
        return group_mean(token_sum(-gate * advantage * logp, batch.mask), batch.weight), {}
