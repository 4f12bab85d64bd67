"""What every algorithm sees (`Batch`), what it is (`Objective`), and the reductions they share."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

Loss = tuple[Tensor, dict[str, Tensor]]


@dataclass(frozen=True)
class Batch:
    """Scored candidates of one rollout: detached, and constant over its gradient epochs.

    B contexts, K candidates each, T tokens each; *L are leading dims (none, or the seeds). Every field may also be
    a tensor that merely broadcasts to its shape; `score` and `weight` always list all K candidates.

    logp_old  (*L,B,K,T)  log-prob of each token under the rollout policy, in nats
    reward    (*L,B,K,T)  reward credited to each token
    baseline  (*L,B,K,T)  the environment's baseline for that reward
    mask      (*L,B,K,T)  1 where a token counts, 0 where it is padding
    score     (*L,B,K)    score of the whole candidate
    weight    (*L,B,K)    expected draws behind a candidate: 1 for a sample, pi_old(a) where all actions are listed
    logp_ref  (*L,B,K,T)  log-prob of each token under the reference policy, where an objective needs one
    """

    logp_old: Tensor
    reward: Tensor
    baseline: Tensor
    mask: Tensor
    score: Tensor
    weight: Tensor
    logp_ref: Tensor | None = None

    @property
    def advantage(self) -> Tensor:
        return self.reward - self.baseline


class Objective:
    """A frozen dataclass of hyperparameters with one pure loss.

    sampler         what the loss compares: "single" rollouts, a sampled "group", a candidate "set" (all actions where
                    they can be listed, a sampled group elsewhere), or the "oracle" (true rewards of all actions)
    epochs          gradient steps per rollout, unless the environment or the user says otherwise
    invariances     what leaves the gradient unchanged: "shift" and "scale" (by a positive factor) of all rewards
    flat            when a context in which no candidate beats its group, or its baseline where there is none, has no
                    gradient: "always", in the "first" epoch (at the rollout policy), or "never"
                    (what has no gradient is not computed)
    relative        true where only differences of log-probs within a group matter: equal candidates have no gradient
    stop_gradient   true where the loss holds gradients back, so that its value does not integrate its gradient
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    sampler: ClassVar[str]
    epochs: ClassVar[int] = 4
    invariances: ClassVar[frozenset[str]] = frozenset()
    flat: ClassVar[str] = "never"
    relative: ClassVar[bool] = False
    stop_gradient: ClassVar[bool] = False

    def loss(self, logp: Tensor, batch: Batch) -> Loss:
        """Loss (*L,) to minimise and metrics {name: (*L,)}, for current log-probs `logp` (*L,B,K,T) in nats."""
        raise NotImplementedError


def require(ok: bool, key: str, value: object, allowed: str) -> None:
    """Raise ValueError naming the key, the value and what is allowed unless `ok`."""
    if not ok:
        raise ValueError(f"{key}={value}: must be {allowed}")


def log_softmax(x: Tensor) -> Tensor:
    """Log-softmax over the last dim; torch's own kernel is ten times slower when that dim is short and innermost."""
    if x.dim() < 2 or x.shape[-1] >= 32:
        return x.log_softmax(-1)
    return x.transpose(-1, -2).log_softmax(-2).transpose(-1, -2)


def softmax(x: Tensor) -> Tensor:
    """Softmax over the last dim, laid out as in `log_softmax`."""
    if x.dim() < 2 or x.shape[-1] >= 32:
        return x.softmax(-1)
    return x.transpose(-1, -2).softmax(-2).transpose(-1, -2)


def token_sum(x: Tensor, mask: Tensor) -> Tensor:
    """sum_t mask_t x_t: (*L,B,K,T) -> (*L,B,K)."""
    x = x * mask
    return x.squeeze(-1) if x.shape[-1] == 1 else x.sum(-1)


def group_sum(x: Tensor, weight: Tensor) -> Tensor:
    """Mean over contexts of sum_k weight_k x_k: (*L,B,K) -> (*L,)."""
    return (weight * x).sum(-1).mean(-1)


def group_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Mean over contexts of the weighted mean over candidates: (*L,B,K) -> (*L,)."""
    return ((weight * x).sum(-1) / weight.sum(-1)).mean(-1)


def standardize(score: Tensor, weight: Tensor | None = None, eps: float = 0.0, floor: float = 0.0) -> Tensor:
    """(score - mean) / (std + eps) within the group, population std; 0 where all scores are equal or std <= floor.

    score (*L,B,K); `weight` (*L,B,K) makes mean and std those of the draws behind the candidates.
    """
    weight = torch.ones_like(score) if weight is None else weight
    share = weight / weight.sum(-1, keepdim=True)
    centred = score - (share * score).sum(-1, keepdim=True)
    std = (share * centred.square()).sum(-1, keepdim=True).sqrt()
    # the rounding error of an equal-scored group's mean must not be blown up to unit variance
    spread = (score.amax(-1, keepdim=True) > score.amin(-1, keepdim=True)) & (std > floor)
    return centred * torch.where(spread, 1 / (std + eps), 0.0)
