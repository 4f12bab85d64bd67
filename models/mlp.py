"""A ReLU network over the features of contexts, one set of parameters per seed."""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.base import require
from models.base import CategoricalPolicy, ModelConfig, lecun_normal


@dataclass(frozen=True)
class MLPConfig(ModelConfig):
    """`layers` hidden layers of `width` units; kernels LeCun normal, biases 0. Raises ValueError for a size below 1."""

    name = "mlp"
    context_type = "features"

    width: int = 50
    layers: int = 2

    def __post_init__(self):
        for key in ("width", "layers"):
            require(getattr(self, key) >= 1, key, getattr(self, key), ">= 1")

    def build(self, spec, noise) -> "MLP":
        widths = [spec.inputs.shape[1], *[self.width] * self.layers, spec.actions]
        shapes = list(itertools.pairwise(widths))
        sizes = [math.prod(shape) for shape in shapes]
        uniform = noise.uniform("init", sum(sizes)).split(sizes, dim=1)
        kernels = [lecun_normal(u, shape[0]).view(-1, *shape) for u, shape in zip(uniform, shapes, strict=True)]
        return MLP(spec.inputs, kernels)


class MLP(CategoricalPolicy):
    """Logits (S,C,A) of contexts (S,C), which are row numbers of `inputs` (N,F)."""

    def __init__(self, inputs: Tensor, kernels: list[Tensor]):
        super().__init__()
        self.register_buffer("inputs", inputs, persistent=False)
        self.kernels = nn.ParameterList(kernels)
        self.biases = nn.ParameterList([torch.zeros(k.shape[0], 1, k.shape[2]) for k in kernels])

    def logits(self, x: Tensor) -> Tensor:
        """Logits (S,C,A) of features x, (S,C,F) or (C,F) for all seeds alike."""
        if x.dim() == 2:
            # one wide product for all seeds
            s, f, width = self.kernels[0].shape
            x = (x @ self.kernels[0].transpose(0, 1).reshape(f, -1)).view(-1, s, width).transpose(0, 1) + self.biases[0]
        else:
            x = torch.baddbmm(self.biases[0], x, self.kernels[0])
        for kernel, bias in zip(self.kernels[1:], self.biases[1:], strict=True):
            x = torch.baddbmm(bias, x.relu(), kernel)
        return x

    def _logits(self, contexts) -> Tensor:
        return self.logits(self.inputs.index_select(0, contexts.flatten()).view(*contexts.shape, -1))
