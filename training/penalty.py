"""What it costs to leave a reference policy."""

from torch import Tensor

from algorithms.base import Batch


def k3(logp: Tensor, batch: Batch) -> Tensor:
    """KL(pi, pi_ref) (*L,) in nats per token, estimated as the mean of e^d - 1 - d with d = log pi_ref - log pi.

    Unbiased for tokens drawn from pi, and never negative; a candidate counts as often as it was drawn. http://joschu.net/blog/kl-approx.html
    """
    d, weight = batch.logp_ref - logp, batch.mask * batch.weight.unsqueeze(-1)
    weight = weight.expand_as(logp)
    return ((d.expm1() - d) * weight).sum((-3, -2, -1)) / weight.sum((-3, -2, -1))
