"""What the trainer and the samplers need of a policy."""

from typing import ClassVar

import torch
from torch import Tensor, nn


def draw(logp: Tensor, uniforms: Tensor) -> Tensor:
    """Tokens (...) from log-probs (..., V) by inversion of their distribution at uniforms (...)."""
    return (uniforms.unsqueeze(-1) >= logp.exp().cumsum(-1)[..., :-1]).sum(-1)


def take(x: Tensor, rows: Tensor) -> Tensor:
    """x (S,N,...) at rows (S,M): (S,M,...)."""
    s, n = x.shape[:2]
    offsets = torch.arange(s, device=x.device).unsqueeze(1) * n
    return x.flatten(0, 1).index_select(0, (rows + offsets).flatten()).view(*rows.shape, *x.shape[2:])


class Policy(nn.Module):
    """Parameters of shape (S, ...): seeds share nothing, so one backward pass gives each seed its own gradient."""

    name: ClassVar[str]

    def logp(self, contexts: Tensor | None, candidates: Tensor | None) -> Tensor:
        """Log-probs (S,B,K,T) in nats of candidates (S,B,K); None lists all contexts, or all actions of each."""
        raise NotImplementedError

    def sample(self, contexts: Tensor | None, uniforms: Tensor) -> Tensor:
        """Candidates (S,B,K) drawn with uniforms (S,B,K) in [0, 1)."""
        raise NotImplementedError

    def layouts(self, split: str) -> dict[str, tuple[int, ...]]:
        """{parameter: shape of one seed} by which an optimiser tells matrices (two dims) from the rest."""
        return {name: tuple(p.shape[1:]) for name, p in self.named_parameters()}
