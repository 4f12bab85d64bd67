"""A softmax policy with one logit per context and action."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.base import log_softmax, require
from models.base import Policy


@dataclass(frozen=True)
class TabularConfig:
    """Initial logits are N(0, init_std^2); raises ValueError for init_std < 0."""

    name = "tabular"

    init_std: float = 0.0

    def __post_init__(self):
        require(self.init_std >= 0, "init_std", self.init_std, ">= 0")

    def build(self, spec, noise) -> "Tabular":
        normal = noise.normal("init", spec.contexts * spec.actions)
        return Tabular(self.init_std * normal.view(-1, spec.contexts, spec.actions))


class Tabular(Policy):
    """pi(a|x) = softmax(logits[x])_a, logits (S, contexts, A)."""

    def __init__(self, logits: Tensor):
        super().__init__()
        # stored with the actions outermost, which makes reductions over a few actions several times faster
        self.logits = nn.Parameter(logits.transpose(1, 2).contiguous().transpose(1, 2))
        self._table = None, None

    def table(self) -> Tensor:
        """log pi (S, contexts, A) with its graph, computed once between two updates."""
        version, table = self._table
        if version != self.logits._version:
            with torch.enable_grad():
                table = log_softmax(self.logits)
            self._table = self.logits._version, table
        return table

    def logp(self, contexts, candidates) -> Tensor:
        table = self.table()
        if contexts is not None:
            table = table.gather(1, contexts.unsqueeze(-1).expand(-1, -1, table.shape[-1]))
        if candidates is not None:
            table = table.gather(2, candidates)
        return table.unsqueeze(-1)

    def sample(self, contexts, uniforms) -> Tensor:
        with torch.no_grad():
            cdf = self.logp(contexts, None).squeeze(-1).exp().cumsum(-1)
            # rounding leaves the last entry a little off 1
            return torch.searchsorted(cdf / cdf[..., -1:], uniforms, right=True).clamp_max(cdf.shape[-1] - 1)
