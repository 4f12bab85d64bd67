"""What every algorithm sees (`Batch`), what it is (`Objective`), and the reductions they share."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

Loss = tuple[Tensor, dict[str, Tensor]]
TINY = 1e-30  # no sum of weights is as small, unless nothing weighs


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

    @property
    def candidate_mask(self) -> Tensor | None:
        """1 where a candidate (*L,B,K) has a token that counts, 0 where it has none; None where one mask is for all."""
        return self.mask.amax(-1).expand_as(self.score) if self.mask.dim() > 1 else None

    @property
    def effective_weight(self) -> Tensor:
        """`weight` (*L,B,K), but 0 for a candidate without a token that counts: it leaves its group."""
        mask = self.candidate_mask
        return self.weight if mask is None else self.weight * mask


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
    baseline        what a "single" rollout is measured against: the environment's own ("env"), the reward of the
                    likeliest answer ("greedy"), or what the loss makes of the whole "batch"
    needs_reference true where the loss reads `Batch.logp_ref`
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    sampler: ClassVar[str]
    epochs: ClassVar[int] = 4
    invariances: ClassVar[frozenset[str]] = frozenset()
    zero_variance_gradient: ClassVar[str] = "nonzero"
    shift_invariant_in_logp: ClassVar[bool] = False
    stop_gradient: ClassVar[bool] = False
    baseline: ClassVar[str] = "env"
    needs_reference: ClassVar[bool] = False

    @property
    def required_sampler(self) -> str:
        """What `Spec.samplers` has to offer: what the loss compares, or "greedy" for its baseline."""
        return "greedy" if self.baseline == "greedy" else self.sampler

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


def centre(score: Tensor, weight: Tensor) -> Tensor:
    """score - mean of the draws in the group, 0 where all candidates are equal: (*L,B,K)."""
    share = weight / weight.sum(-1, keepdim=True).clamp_min(TINY)
    # the rounding error of a mean must not pass for a gradient, which an optimiser would make a whole step of
    return torch.where(_differ(score, weight), score - (share * score).sum(-1, keepdim=True), 0.0)


def leave_one_out(score: Tensor, weight: Tensor) -> Tensor:
    """score - mean of the other draws = K/(K-1) (score - mean) within the group: (*L,B,K)."""
    return bessel_correction(weight) * centre(score, weight)


def bessel_correction(weight: Tensor) -> Tensor:
    """n/(n-1) for the n draws of a group (*L,B,1), each one candidate; 1 where actions are listed, for all draws."""
    n = (weight > 0).sum(-1, keepdim=True)
    return torch.where(_differ(weight, weight), 1.0, n / (n - 1).clamp_min(1)).to(weight.dtype)


def standardize(
    score: Tensor, weight: Tensor | None = None, eps: float = 0.0, floor: float = 0.0, bessel: bool = False
) -> Tensor:
    """(score - mean) / (std + eps) within the group; 0 where all scores are equal or std <= floor.

    score (*L,B,K); `weight` (*L,B,K) makes mean and std those of the draws behind the candidates, and leaves out
    those that weigh 0. Population std, or with `bessel` that of a sample.
    """
    weight = torch.ones_like(score) if weight is None else weight
    centred = centre(score, weight)
    share = weight / weight.sum(-1, keepdim=True).clamp_min(TINY)
    variance = (share * centred.square()).sum(-1, keepdim=True)
    std = (variance * bessel_correction(weight) if bessel else variance).sqrt()
    return centred * torch.where(std > floor, 1 / (std + eps), 0.0)


def _differ(x: Tensor, weight: Tensor) -> Tensor:
    """Whether not all candidates of a group that weigh more than 0 are equal: (*L,B,1)."""
    return _largest(x, weight) > -_largest(-x, weight)


def _largest(x: Tensor, weight: Tensor) -> Tensor:
    """The largest of each group (*L,B,1) among the candidates that weigh more than 0."""
    return torch.where(weight > 0, x, -torch.inf).amax(-1, keepdim=True)
