"""AdamW with a clipped gradient, for language models."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from algorithms.base import require
from models.base import Policy
from training.optim import Optimizer


@dataclass(frozen=True)
class AdamWClippedConfig:
    """AdamW for a policy of one seed, with the norm of its whole gradient clipped to max_grad_norm.

    The learning rate grows linearly over the first warmup_steps. Raises ValueError for impossible values.
    https://arxiv.org/abs/1711.05101
    """

    name = "adamw_clipped"
    stacked = False

    lr: float = 1e-5
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    max_grad_norm: float = 1.0
    warmup_steps: int = 0

    def __post_init__(self):
        for key in ("lr", "max_grad_norm"):
            require(getattr(self, key) > 0, key, getattr(self, key), "> 0")
        for key in ("weight_decay", "warmup_steps"):
            require(getattr(self, key) >= 0, key, getattr(self, key), ">= 0")
        for key in ("beta1", "beta2"):
            require(0 <= getattr(self, key) < 1, key, getattr(self, key), "in [0, 1)")

    def build(self, policy: Policy) -> "AdamWClipped":
        return AdamWClipped([p for p in policy.parameters() if p.requires_grad], self)


class AdamWClipped(Optimizer):
    """Keeps a float32 copy (`params`) of every weight of lower precision, so that small steps are not lost.

    Gradients are moved to the copies as soon as they are computed, so that those of many micro-batches add up in
    float32.
    """

    def __init__(self, weights: list[Tensor], cfg: AdamWClippedConfig):
        super().__init__([p.detach().float() if p.element_size() < 4 else p for p in weights])
        self.weights, self.cfg, self.count = weights, cfg, 0
        betas = cfg.beta1, cfg.beta2
        self.inner = torch.optim.AdamW(self.params, cfg.lr, betas, weight_decay=cfg.weight_decay, fused=True)
        for weight, copy in self._weights_and_copies():
            weight.register_post_accumulate_grad_hook(partial(_move_gradient, copy))

    def _weights_and_copies(self) -> list[tuple[Tensor, Tensor]]:
        return [(w, p) for w, p in zip(self.weights, self.params, strict=True) if w is not p]

    def grad_norm(self) -> Tensor:
        return torch.nn.utils.get_total_norm([p.grad for p in self.params if p.grad is not None]).float().view(1)

    @torch.no_grad()
    def step(self, alive: Tensor, grad_norm: Tensor) -> None:
        if not alive.all():
            return
        self.count += 1
        warm = min(1.0, self.count / max(1, self.cfg.warmup_steps))
        self.inner.param_groups[0]["lr"] = self.cfg.lr * warm
        clip = (self.cfg.max_grad_norm / (grad_norm + 1e-6)).clamp_max(1.0).squeeze(0)
        for p in self.params:
            if p.grad is not None:
                p.grad.mul_(clip)
        self.inner.step()
        for weight, copy in self._weights_and_copies():
            weight.copy_(copy)
        torch.autograd.graph.increment_version(self.weights)  # the fused kernel does not

    def state_dict(self) -> dict:
        return {
            "inner": self.inner.state_dict(),
            "count": self.count,
            "masters": [p for _, p in self._weights_and_copies()],
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict) -> None:
        self.inner.load_state_dict(state["inner"])
        self.count = state["count"]
        for (_, copy), value in zip(self._weights_and_copies(), state["masters"], strict=True):
            copy.copy_(value)


def _move_gradient(copy: Tensor, weight: Tensor) -> None:
    """Add the gradient of a weight to that of its copy, and remove it from the weight."""
    copy.grad = weight.grad.to(copy.dtype) if copy.grad is None else copy.grad.add_(weight.grad)
    weight.grad = None
