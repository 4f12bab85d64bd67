"""Soft gates on the ratio of two policies: near 1 they equal the ratio, up to a constant; far from 1 they saturate.

SAPO and SSPO share their settings.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from algorithms.base import TINY, Batch, Objective, require, standardize


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

# log g(e^d) as a function of the log-ratio d, finite where the gate rounds to 0; the gates are those above, but SSPO's
# arctan is one of d itself
LOG_GATES = {name: lambda d, tau, gate=gate: gate(d.exp(), tau).clamp_min(TINY).log() for name, gate in GATES.items()}
LOG_GATES["sigmoid"] = lambda d, tau: (4 / tau).log() + torch.nn.functional.logsigmoid(tau * (d.exp() - 1))
LOG_GATES["arctan"] = lambda d, tau: (tau * d).arctan() / tau


@dataclass(frozen=True)
class GatedObjective(Objective):
    """A loss of z-scores A and gates whose temperature tau is `tau_pos` where A > 0, and `tau_neg` elsewhere.

    A subclass says in `gates` which there are. Raises ValueError for a tau <= 0 or an unknown gate.
    """

    sampler = "group"
    invariances = frozenset({"shift", "scale"})
    zero_variance_gradient = "none"
    gates: ClassVar[dict[str, Callable[[Tensor, Tensor], Tensor]]]

    gate: str = "sigmoid"
    tau_pos: float = 1.0
    tau_neg: float = 1.05
    bessel: bool = False

    def __post_init__(self):
        require(self.gate in self.gates, "gate", self.gate, f"one of {', '.join(self.gates)}")
        require(self.tau_pos > 0, "tau_pos", self.tau_pos, "> 0")
        require(self.tau_neg > 0, "tau_neg", self.tau_neg, "> 0")

    def advantage_and_tau(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """A and tau, both (*L,B,K)."""
        advantage = standardize(batch.score, batch.effective_weight, eps=1e-8, bessel=self.bessel)
        return advantage, by_sign(advantage, self.tau_pos, self.tau_neg)


def by_sign(advantage: Tensor, positive: float, negative: float) -> Tensor:
    """`positive` where the advantage is > 0 and `negative` elsewhere, in the advantage's shape and type."""
    return torch.full_like(advantage, negative).masked_fill(advantage > 0, positive)
