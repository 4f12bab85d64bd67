"""The tokens that lower the entropy of a policy most: those whose log-prob and advantage are large together."""

import torch
from torch import Tensor

from algorithms.base import TINY


def token_covariance(logp: Tensor, advantage: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """(A_t - mean A) (log pi_t - mean log pi), with means over all tokens that count: (*L,B,K,T), detached.

    advantage and weight are (*L,B,K). A token that is masked or of weight 0 does not count; its value is -inf.
    """
    logp = logp.detach()
    share = (weight.unsqueeze(-1) * mask).expand_as(logp)
    share = share / share.sum((-1, -2, -3), keepdim=True).clamp_min(TINY)
    product = _centre(advantage.unsqueeze(-1).expand_as(logp), share) * _centre(logp, share)
    return torch.where(share > 0, product, -torch.inf)


def is_in_top_fraction(x: Tensor, share: float, eligible: Tensor | None = None) -> Tensor:
    """True for the floor(share n) largest values, but at least one, of n finite values in a batch (*L,B,K,T).

    Where `eligible` is given, only its values are taken, so possibly none. Of equal values the earlier are taken.
    """
    found = x.isfinite() if eligible is None else x.isfinite() & eligible
    count = (share * x.isfinite().sum((-1, -2, -3), keepdim=True)).floor().clamp_min(1)
    order = torch.where(found, x, -torch.inf).flatten(-3).argsort(dim=-1, descending=True, stable=True)
    return found & (order.argsort(dim=-1).view_as(x) < count)


def _centre(x: Tensor, share: Tensor) -> Tensor:
    return x - (share * x).sum((-1, -2, -3), keepdim=True)
