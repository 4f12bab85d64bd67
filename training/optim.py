"""Optimisers of seed-stacked parameters (S, ...). No statistic is computed over several seeds."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from algorithms.base import require
from models.base import Policy


class Optimizer:
    """An optimiser of parameters (S, ...). `step` changes the seeds whose `alive` (S,) is true, and only these."""

    def __init__(self, params: list[Tensor]):
        self.params = params

    def zero_grad(self) -> None:
        for p in self.params:
            p.grad = None

    def grad_norm(self) -> Tensor:
        """Norm (S,) of the gradient of each seed, over all parameters; raises ValueError where one has none."""
        if without := sum(p.grad is None for p in self.params):
            raise ValueError(
                f"{without} of {len(self.params)} parameters have no gradient: the log-probs do not use them"
            )
        return torch.stack([torch.linalg.vector_norm(p.grad.flatten(1), dim=1) for p in self.params]).norm(dim=0)

    def step(self, alive: Tensor, grad_norm: Tensor) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        pass


@dataclass(frozen=True)
class StackedConfig:
    """Settings of an optimiser of seed-stacked parameters. Raises ValueError for lr <= 0."""

    stacked: ClassVar[bool] = True

    lr: float = 1e-3

    def __post_init__(self):
        require(self.lr > 0, "lr", self.lr, "> 0")


class GradientDescent(Optimizer):
    """Steps along the gradient, whose length a subclass decides."""

    def __init__(self, params: list[Tensor], lr: float):
        super().__init__(params)
        self.lr = lr

    @torch.no_grad()
    def descend(self, scale: Tensor) -> None:
        """theta <- theta - scale g with scale (S,); where it is 0, elements of g that are not finite change nothing."""
        for p in self.params:
            p.addcmul_(p.grad.nan_to_num_(), -scale.view(-1, *[1] * (p.dim() - 1)))


@dataclass(frozen=True)
class NormalizedConfig(StackedConfig):
    """Gradient steps of length lr, however long the gradient is. Raises ValueError for lr <= 0.

    So no lr is too large for a bandit's table of logits: with lr=1e30 the first step decides.
    """

    name = "normalized"

    lr: float = 0.1

    def build(self, policy: Policy) -> "Normalized":
        return Normalized(list(policy.parameters()), self.lr)


class Normalized(GradientDescent):
    """theta <- theta - lr g / |g|, where |g| is the norm over all parameters of a seed; no step where g = 0."""

    def step(self, alive: Tensor, grad_norm: Tensor) -> None:
        self.descend(torch.where(alive & (grad_norm > 0), self.lr / grad_norm, 0.0))


@dataclass(frozen=True)
class SGDConfig(StackedConfig):
    """Gradient steps lr g. Raises ValueError for lr <= 0."""

    name = "sgd"

    lr: float = 0.1

    def build(self, policy: Policy) -> "SGD":
        return SGD(list(policy.parameters()), self.lr)


class SGD(GradientDescent):
    """theta <- theta - lr g."""

    def step(self, alive: Tensor, grad_norm: Tensor) -> None:
        self.descend(self.lr * alive)


@dataclass(frozen=True)
class AdamConfig(StackedConfig):
    """Adam on all parameters. Raises ValueError for lr <= 0. https://arxiv.org/abs/1412.6980"""

    name = "adam"

    def build(self, policy: Policy) -> "Adam":
        return Adam(list(policy.parameters()), self.lr)


class Adam(Optimizer):
    """torch's fused Adam. It is elementwise, so that stacked seeds do not influence each other."""

    def __init__(self, params: list[Tensor], lr: float):
        super().__init__(params)
        self.inner = torch.optim.Adam(params, lr, fused=True)

    @torch.no_grad()
    def step(self, alive: Tensor, grad_norm: Tensor) -> None:
        frozen = [] if alive.all() else [p[~alive] for p in self.params]
        self.inner.step()
        torch.autograd.graph.increment_version(self.params)  # the fused kernel does not
        for p, values in zip(self.params, frozen, strict=False):
            p[~alive] = values

    def state_dict(self) -> dict:
        return self.inner.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.inner.load_state_dict(state)
