"""Soft gates on the ratio of two policies: near 1 they equal the ratio, up to a constant; far from 1 they saturate."""

import math

import torch
from torch import Tensor


def sigmoid(ratio: Tensor, tau: Tensor) -> Tensor:
    """(4/tau) sigmoid(tau (r - 1)); its value at r = 1 is 2/tau."""
    return 4 / tau * (tau * (ratio - 1)).sigmoid()


def erf(ratio: Tensor, tau: Tensor) -> Tensor:
    """1 + the integral of exp(-tau^2 x^2 / 2) from 0 to r - 1."""
    return 1 + math.sqrt(math.pi / 2) / tau * torch.erf(tau * (ratio - 1) / math.sqrt(2))


def arctan(ratio: Tensor, tau: Tensor) -> Tensor:
    """1 + arctan(tau (r - 1)) / tau."""
    return 1 + (tau * (ratio - 1)).arctan() / tau


def softsign(ratio: Tensor, tau: Tensor) -> Tensor:
    """1 + (r - 1) / sqrt(1 + tau^2 (r - 1)^2)."""
    x = ratio - 1
    return 1 + x * (1 + (tau * x).square()).rsqrt()


# all are smooth and positive, with slope 1 at r = 1 and a smaller slope elsewhere; https://arxiv.org/abs/2602.19345
GATES = {"sigmoid": sigmoid, "erf": erf, "arctan": arctan, "softsign": softsign}

# log g(e^d) as a function of the log-ratio d; the gates are those above, but SSPO's arctan is one of d itself
LOG_GATES = {name: lambda d, tau, gate=gate: gate(d.exp(), tau).log() for name, gate in GATES.items()}
LOG_GATES["sigmoid"] = lambda d, tau: (4 / tau).log() + torch.nn.functional.logsigmoid(tau * (d.exp() - 1))
LOG_GATES["arctan"] = lambda d, tau: (tau * d).arctan() / tau


def temperature(advantage: Tensor, positive: float, negative: float) -> Tensor:
    """tau, which depends on the sign of the advantage; it has the advantage's shape and type."""
    return torch.full_like(advantage, negative).masked_fill(advantage > 0, positive)
