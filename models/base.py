"""The interface of a policy for the trainer and the samplers."""

import copy
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from algorithms.base import log_softmax


def sample_tokens(logp: Tensor, uniforms: Tensor) -> Tensor:
    """Tokens (...) from log-probs (..., V) by inversion of their distribution at uniforms (...)."""
    return (uniforms.unsqueeze(-1) >= logp.exp().cumsum(-1)[..., :-1]).sum(-1)


def take_rows(x: Tensor, rows: Tensor) -> Tensor:
    """x (S,N,...) at rows (S,M): (S,M,...)."""
    s, n = x.shape[:2]
    offsets = torch.arange(s, device=x.device).unsqueeze(1) * n
    return x.flatten(0, 1).index_select(0, (rows + offsets).flatten()).view(*rows.shape, *x.shape[2:])


def lecun_normal(uniform: Tensor, fan_in: int) -> Tensor:
    """Normal numbers of variance 1 / fan_in, truncated at two std (before it is restored), from uniform ones."""
    edge = math.erf(2 / math.sqrt(2))  # probability mass within two std
    normal = torch.erfinv((2 * uniform.double() - 1) * edge) * math.sqrt(2)
    return (normal / 0.87962566103423978 / math.sqrt(fan_in)).float()


class ModelConfig:
    """A frozen dataclass of settings that makes a policy; impossible ones raise ValueError.

    context_type  what the policy reads, as in `Spec`: "indices" of contexts, their "features", "tokens" or "text"
    stacked       whether one policy holds all seeds, with parameters (S, ...); else each seed trains on its own
    """

    name: ClassVar[str]
    context_type: ClassVar[str]
    stacked: ClassVar[bool] = True

    def build(self, spec: Any, noise: Any) -> "Policy":
        """The policy for a task with these facts (`envs.base.Spec`), at first values drawn from `noise`."""
        raise NotImplementedError

    def remark(self) -> str:
        """A one-line warning for whoever trains this model; empty for most models."""
        return ""


class Policy(nn.Module):
    """Parameters of shape (S, ...): seeds share nothing, so one backward pass gives each seed its own gradient.

    Tasks also call `table` on policies of indices (`CategoricalPolicy`), `logits` on those of features (`models.mlp`),
    and `generate`, `greedy` and `table` on those of tokens (`models.autoregressive`).
    """

    def logp(self, contexts: Tensor | None, candidates: Tensor | None) -> Tensor:
        """Log-probs (S,B,K,T) in nats of candidates (S,B,K); None lists all contexts, or all actions of each."""
        raise NotImplementedError

    def sample(self, contexts: Tensor | None, uniforms: Tensor) -> Tensor:
        """Candidates (S,B,K) drawn with uniforms (S,B,K) in [0, 1)."""
        raise NotImplementedError

    def frozen_copy(self) -> "Policy":
        """A copy that stays as this policy is now, and shares with it what never changes."""
        return copy.deepcopy(self, {id(buffer): buffer for buffer in self.buffers()}).requires_grad_(False)

    def export(self, folder: Path) -> None:
        """Write the policy in the format of the library that it comes from, if it comes from one."""

    def close(self) -> None:
        """Free what would outlive the policy, such as the memory of an engine."""

    def optimizer_shapes(self, split: str) -> dict[str, tuple[int, ...]]:
        """{parameter: shape of one seed} by which an optimiser tells matrices (two dims) from the rest."""
        return {name: tuple(p.shape[1:]) for name, p in self.named_parameters()}


class MicroBatchedPolicy:
    """A policy that passes `size` of the rows of each seed at a time: the same numbers in less memory."""

    def __init__(self, policy: Policy, size: int):
        self.policy, self.size = policy, size

    def logp(self, contexts: Tensor, candidates: Tensor) -> Tensor:
        return self._in_parts(self.policy.logp, contexts, candidates)

    def table(self, prompts: Tensor, answers: Tensor) -> Tensor:
        return self._in_parts(self.policy.table, prompts, answers)

    def generate(self, prompts: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        return self._in_parts(self.policy.generate, prompts, uniforms)

    def greedy(self, prompts: Tensor, horizon: int) -> Tensor:
        return self._in_parts(lambda part: self.policy.greedy(part, horizon), prompts)

    def __getattr__(self, name: str):
        return getattr(self.policy, name)

    def _in_parts(self, method, *inputs: Tensor):
        parts = [method(*part) for part in zip(*(x.split(self.size, dim=1) for x in inputs), strict=True)]
        if isinstance(parts[0], tuple):
            return tuple(torch.cat(found, dim=1) for found in zip(*parts, strict=True))
        return torch.cat(parts, dim=1)


class ForwardCache:
    """The last result of a forward pass, with its graph, until the inputs or a parameter change.

    So the pass that draws a rollout also serves its first epoch. A copy of a policy starts without one.
    """

    def __init__(self):
        self.forget()

    def get(self, params: Iterable[Tensor], inputs: Tensor | None, compute: Callable[[], Any]) -> Any:
        """The result of `compute` for these inputs and parameters, computed once."""
        version = [p._version for p in params]
        if self.version != version or self.inputs is not inputs:
            with torch.enable_grad():
                self.version, self.inputs, self.result = version, inputs, compute()
        return self.result

    def forget(self) -> None:
        self.version = self.inputs = self.result = None

    def __deepcopy__(self, memo: dict) -> "ForwardCache":
        return ForwardCache()


class CategoricalPolicy(Policy):
    """pi(a|x) = softmax(logits(x))_a over a list of actions; computed once between two updates."""

    def __init__(self):
        super().__init__()
        self._table = ForwardCache()

    def _logits(self, contexts: Tensor | None) -> Tensor:
        """Logits (S,C,A) of contexts (S,C), or of all of them."""
        raise NotImplementedError

    def table(self, contexts: Tensor | None = None) -> Tensor:
        """log pi (S,C,A) with its graph."""
        return self._table.get(self.parameters(), contexts, lambda: log_softmax(self._logits(contexts)))

    def logp(self, contexts, candidates) -> Tensor:
        table = self.table(contexts)
        return (table if candidates is None else table.gather(2, candidates)).unsqueeze(-1)

    def sample(self, contexts, uniforms) -> Tensor:
        with torch.no_grad():
            cdf = self.table(contexts).exp().cumsum(-1)
            # rounding leaves the last entry a little off 1
            return torch.searchsorted(cdf / cdf[..., -1:], uniforms, right=True).clamp_max(cdf.shape[-1] - 1)
