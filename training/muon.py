"""Muon for matrices and Nesterov AdamW for other parameters, as in Optax, batched over seeds."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.base import require
from models.base import Policy
from training.optim import Optimizer, StackedConfig

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


def orthogonalize(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Five Newton-Schulz steps on matrices (N,m,n), which bring their singular values close to 1.

    X <- X / (|X| + eps), then X <- a X + (b A + c A^2) X with A = X X^T. https://kellerjordan.github.io/posts/muon/
    """
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else x.transpose(-1, -2)
    x = x / (torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) + eps)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.transpose(-1, -2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.transpose(-1, -2)


@dataclass(frozen=True)
class MuonConfig(StackedConfig):
    """Muon on matrices, and Nesterov AdamW at the same lr on all other parameters, without weight decay.

    split   which parameters are matrices. "flax": those with two dims in the Flax layout (optax.contrib.muon), in which
            attention kernels have a dim for heads, and query, key and value biases are (heads, head_dim). "torch":
            kernels and embedding tables

    Raises ValueError for lr <= 0, momentum outside [0, 1), or another split.
    """

    name = "muon"

    momentum: float = 0.95
    split: str = "flax"

    def __post_init__(self):
        super().__post_init__()
        require(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")
        require(self.split in ("flax", "torch"), "split", self.split, "flax or torch")

    def build(self, policy: Policy) -> "MuonAdamW":
        shaped = {name: (p, policy.optimizer_shapes(self.split)[name]) for name, p in policy.named_parameters()}
        return MuonAdamW(list(shaped.values()), self.lr, self.momentum)


@dataclass(frozen=True)
class AdamWConfig(StackedConfig):
    """Nesterov AdamW without weight decay (Optax's nesterov=True) on all parameters. Raises ValueError for lr <= 0."""

    name = "adamw"

    def build(self, policy: Policy) -> "MuonAdamW":
        return MuonAdamW([(p, ()) for p in policy.parameters()], self.lr, 0.0)


class MuonAdamW(Optimizer):
    """Updates parameters whose shape for one seed has two dims by Muon, and the others by AdamW.

    Muon: m <- mu m + (1 - mu) g, then orthogonalize(mu m / (1 - mu^(t+1)) + (1 - mu) g / (1 - mu^t)),
    scaled by lr sqrt(max(1, fan_out / fan_in)). AdamW: the same Nesterov average over sqrt(v / (1 - b2^t)) + eps.
    Parameters of one shape are updated in one call.
    """

    BETA1, BETA2, EPS = 0.9, 0.999, 1e-8

    def __init__(self, shaped: list[tuple[Tensor, tuple[int, ...]]], lr: float, momentum: float):
        super().__init__([p for p, _ in shaped])
        self.lr, self.momentum, self.t = lr, momentum, 0
        self.matrices: dict[tuple[int, int], list[Tensor]] = {}
        for p, shape in shaped:
            if len(shape) == 2:
                self.matrices.setdefault(shape, []).append(p)
        self.vectors = [p for p, shape in shaped if len(shape) != 2]
        self.m = {shape: torch.zeros_like(self._stack(ps, shape)) for shape, ps in self.matrices.items()}
        flat = self._flat(self.vectors)
        self.adam = torch.zeros_like(flat), torch.zeros_like(flat)

    @torch.no_grad()
    def step(self, alive: Tensor, grad_norm: Tensor) -> None:
        self.t += 1
        scale = -self.lr * alive.float()
        for shape, params in self.matrices.items():
            g = self._stack([p.grad for p in params], shape)
            g = torch.where(alive.view(1, -1, 1, 1), g, 0.0)
            update = orthogonalize(self._nesterov(self.m[shape], g, self.momentum).flatten(0, 1)).view(g.shape)
            update *= scale.view(1, -1, 1, 1) * math.sqrt(max(1.0, shape[1] / shape[0]))
            for p, u in zip(params, update, strict=True):
                p += u.reshape(p.shape)
        if self.vectors:
            self._adam_step(alive, scale)

    def _adam_step(self, alive: Tensor, scale: Tensor) -> None:
        g = torch.where(alive.unsqueeze(1), self._flat([p.grad for p in self.vectors]), 0.0)
        m, v = self.adam
        v.lerp_(g.square(), 1 - self.BETA2)
        update = self._nesterov(m, g, self.BETA1) / ((v / (1 - self.BETA2**self.t)).sqrt() + self.EPS)
        update *= scale.unsqueeze(1)
        for p, u in zip(self.vectors, update.split([p[0].numel() for p in self.vectors], dim=1), strict=True):
            p += u.reshape(p.shape)

    def _nesterov(self, m: Tensor, g: Tensor, mu: float) -> Tensor:
        """Update the moving average m in place, and return its bias-corrected Nesterov value."""
        m.lerp_(g, 1 - mu)
        return m * (mu / (1 - mu ** (self.t + 1))) + g * ((1 - mu) / (1 - mu**self.t))

    @staticmethod
    def _stack(tensors: list[Tensor], shape: tuple[int, int]) -> Tensor:
        return torch.stack([x.reshape(x.shape[0], *shape) for x in tensors])

    @staticmethod
    def _flat(tensors: list[Tensor]) -> Tensor:
        return torch.cat([x.flatten(1) for x in tensors], dim=1) if tensors else torch.zeros(0)

    def state_dict(self) -> dict:
        return {"t": self.t, "adam": self.adam, "m": list(self.m.values())}

    def load_state_dict(self, state: dict) -> None:
        self.t, self.adam = state["t"], tuple(state["adam"])
        self.m = dict(zip(self.m, state["m"], strict=True))
