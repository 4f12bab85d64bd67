"""Ratios of two policies on the drawn tokens, the clipped surrogate, and an estimate of their KL divergence."""

import torch
from torch import Tensor

from algorithms.base import Batch, token_sum

LOG_RATIO_BOUND = 20.0  # nats: exp(20) is finite, and so is its product with any score


def log_ratio(logp: Tensor, batch: Batch) -> Tensor:
    """d_t = log pi(y_t) - log pi_old(y_t), clamped to [-20, 20], and 0 for padding: (*L,B,K,T)."""
    return ((logp - batch.logp_old) * batch.mask).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)


def token_average(x: Tensor, mask: Tensor) -> Tensor:
    """sum_t mask_t x_t / |y|: (*L,B,K,T) -> (*L,B,K). It is 0 for a candidate without a token."""
    return token_sum(x, mask) / lengths(x, mask)


def lengths(x: Tensor, mask: Tensor) -> Tensor:
    """|y|, the number of unmasked tokens, but at least 1: (*L,B,K) for x (*L,B,K,T)."""
    return mask.expand_as(x).sum(-1).clamp_min(1)


def clipped_surrogate(ratio: Tensor, advantage: Tensor, low: float, high: float | None = None) -> Tensor:
    """PPO's surrogate min(r A, clip(r, 1 - low, 1 + high) A), elementwise; `high` defaults to `low`.

    It is computed as min(r A, max((1 + high) A, (1 - low) A)).
    """
    high = low if high is None else high
    return (ratio * advantage).clamp(max=torch.maximum((1 + high) * advantage, (1 - low) * advantage))


def k3(logp: Tensor, other: Tensor) -> Tensor:
    """exp(x) - x - 1 >= 0 with x = log other - log pi. Its mean over draws of pi is KL(pi, other), in nats.

    x is clamped to +-LOG_RATIO_BOUND, beyond which the gradient is 0.
    """
    if other is None:
        raise ValueError("logp_ref: missing; this objective needs the log-probs under a reference policy")
    x = (other - logp).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
    return x.expm1() - x
