"""What it costs to leave a reference policy."""

from torch import Tensor


def k3(logp: Tensor, logp_ref: Tensor, mask: Tensor) -> Tensor:
    """KL(pi, pi_ref) (*L,) in nats per token, estimated as the mean of e^d - 1 - d with d = log pi_ref - log pi.

    Unbiased for tokens drawn from pi, and never negative. http://joschu.net/blog/kl-approx.html
    """
    d, mask = logp_ref - logp, mask.expand_as(logp)
    return ((d.expm1() - d) * mask).sum((-3, -2, -1)) / mask.sum((-3, -2, -1))
