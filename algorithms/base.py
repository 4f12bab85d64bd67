"""The input of a loss (`Batch`), the interface of a method (`Objective`), and the reductions that methods share."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

Loss = tuple[Tensor, dict[str, Tensor]]
MEMBERS = {  # {member of a method: (whether a value fits, what is allowed)}
    "sampler": (("single", "group", "set", "oracle").__contains__, "single, group, set or oracle"),
    "epochs": (lambda value: type(value) is int and value >= 1, "a whole number >= 1"),
    "invariances": ({"shift", "scale"}.issuperset, "a frozenset of shift, scale, both or none"),
    "zero_variance_gradient": (("none", "none_on_policy", "nonzero").__contains__, "none, none_on_policy or nonzero"),
    "baseline": (("env", "greedy", "batch").__contains__, "env, greedy or batch"),
}
TINY = 1e-30  # smaller than any sum of weights that is not 0


@dataclass(frozen=True)
class Batch:
    """Scored candidates of one rollout. They are detached, and the same in all its gradient epochs.

    There are B contexts with K candidates of T tokens each; *L are leading dims (none, or the seeds). A field may also
    be a tensor that broadcasts to its shape, but `score` and `weight` always have all K candidates in their last dim.

    logp_old  (*L,B,K,T)  log-prob of each token under the rollout policy, in nats
    reward    (*L,B,K,T)  reward of each token
    baseline  (*L,B,K,T)  the environment's baseline for that reward
    mask      (*L,B,K,T)  1 for a token, 0 for padding
    score     (*L,B,K)    score of the whole candidate
    weight    (*L,B,K)    draws that a candidate stands for: 1 or its share for a sample, pi_old(a) in an expectation
    logp_ref  (*L,B,K,T)  log-prob of each token under the reference policy, for objectives that need one
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
        """1 where a candidate (*L,B,K) has at least one token, else 0; None where all candidates share one mask."""
        return self.mask.amax(-1).expand_as(self.score) if self.mask.dim() > 1 else None

    @property
    def effective_weight(self) -> Tensor:
        """`weight` (*L,B,K), set to 0 for a candidate without a token, which so leaves its group."""
        mask = self.candidate_mask
        return self.weight if mask is None else self.weight * mask


def scored_completions(logp_old: Tensor, score: Tensor, mask: Tensor, logp_ref: Tensor | None = None) -> Batch:
    """Sampled completions as objectives take them: each token gets the score of its completion as reward.

    logp_old, mask, logp_ref (*L,B,K,T) as in `Batch`; score (*L,B,K). The baseline is the mean score of the batch.
    logp_old and logp_ref may have any value at padding, where it becomes 0.
    """
    logp_old = logp_old.masked_fill(mask == 0, 0)
    logp_ref = None if logp_ref is None else logp_ref.masked_fill(mask == 0, 0)
    reward = score.unsqueeze(-1).expand(logp_old.shape)
    return Batch(logp_old, reward, batch_mean(reward), mask, score, torch.ones_like(score), logp_ref)


def batch_mean(reward: Tensor) -> Tensor:
    """Mean (*L,1,1,T) of rewards (*L,B,K,T). It is exact where all are equal, since rounding would be an advantage."""
    low, high = reward.amin((-3, -2), keepdim=True), reward.amax((-3, -2), keepdim=True)
    return torch.where(low == high, low, reward.mean((-3, -2), keepdim=True))


class Objective:
    """A method: a frozen dataclass of hyperparameters with one pure loss.

    A context has zero variance when no candidate in it scores above another one. Where the loss compares single
    rollouts it has zero variance when every reward equals its baseline.

    sampler                  what the loss compares: "single" rollouts, a "group" of sampled candidates, a "set" of
                             candidates (all actions where they can be enumerated, else a sampled group), or the
                             "oracle" (the true rewards of all actions)
    epochs                   gradient steps per rollout, unless the environment or the user sets another number
    invariances              changes of all rewards that leave the gradient as it is: "shift" by a constant, "scale" by
                             a positive factor
    zero_variance_gradient   gradient of a context of zero variance: "none", "none_on_policy" (none where the current
                             policy is the rollout policy), or "nonzero". The trainer does not compute what is none
    shift_invariant_in_logp  true where adding a constant to the log-probs of a group of one length leaves the gradient
                             as it is, so that a group of identical candidates has none
    stop_gradient            true where part of the loss is not differentiated
    baseline                 what "single" rollouts are measured against: the environment's own baseline ("env"), the
                             reward of the greedy answer ("greedy"), or one that the loss takes from the whole "batch"
    needs_reference          true where the loss reads `Batch.logp_ref`
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

    def __init_subclass__(cls, **kwargs):
        """Raise ValueError for a member that is declared with a value that it cannot have."""
        super().__init_subclass__(**kwargs)
        for key, (fits, allowed) in MEMBERS.items():
            value = getattr(cls, key, None)
            if value is not None and not isinstance(value, property):
                require(fits(value), f"{cls.__name__}.{key}", value, allowed)

    @property
    def required_sampler(self) -> str:
        """The key that an environment's `Spec.samplers` must have: `sampler`, or "greedy" if that is the baseline."""
        return "greedy" if self.baseline == "greedy" else self.sampler

    def loss(self, logp: Tensor, batch: Batch) -> Loss:
        """Loss (*L,) to minimise, and metrics {name: (*L,)}; `logp` (*L,B,K,T) are the current log-probs in nats."""
        raise NotImplementedError(f"class {type(self).__name__} has no method loss")


def require(ok: bool, key: str, value: object, allowed: str) -> None:
    """Raise ValueError unless `ok`; its message names the key, the value and what is allowed."""
    if not ok:
        raise ValueError(f"{key}={as_typed(value)}: must be {allowed}")


def require_tensors(**values: object) -> None:
    """Raise ValueError for a value that is no tensor; its message has the value's name."""
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} is {type(value).__name__}: must be a tensor")


def require_finite(score: Tensor) -> None:
    """Raise ValueError for a score that is not finite: comparisons would take a NaN for an ordinary score."""
    wrong = score[~score.isfinite()]
    if len(wrong):
        raise ValueError(f"score={wrong[0].item()}: must be finite; {len(wrong)} of {score.numel()} are not")


def as_typed(value: object) -> str:
    """A value as a command line writes it: null for None, true and false."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def log_softmax(x: Tensor) -> Tensor:
    """Log-softmax over the last dim. torch's own kernel is ten times slower where that dim is short and contiguous."""
    if x.dim() < 2 or x.shape[-1] >= 32:
        return x.log_softmax(-1)
    return x.transpose(-1, -2).log_softmax(-2).transpose(-1, -2)


def softmax(x: Tensor) -> Tensor:
    """Softmax over the last dim, with the memory layout of `log_softmax`."""
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


def normalized(weight: Tensor) -> Tensor:
    """weight / sum of the group: (*L,B,K). It is 0 where all weights are 0."""
    return weight / weight.sum(-1, keepdim=True).clamp_min(TINY)


def centre(score: Tensor, weight: Tensor) -> Tensor:
    """score - weighted mean of the group: (*L,B,K). It is exactly 0 where all candidates are equal."""
    # an optimiser of fixed step length would turn the rounding error of a mean into a whole step
    return torch.where(_differ(score, weight), score - (normalized(weight) * score).sum(-1, keepdim=True), 0.0)


def leave_one_out(score: Tensor, weight: Tensor) -> Tensor:
    """score - mean of the other draws of the group = K/(K-1) (score - mean): (*L,B,K). Expectations lack K/(K-1)."""
    return bessel_correction(weight) * centre(score, weight)


def bessel_correction(weight: Tensor) -> Tensor:
    """n/(n-1) for a group of n draws (*L,B,1), whose weights are equal; 1 where weights differ.

    Those of enumerated actions differ, but for the first step of a table, which is uniform.
    """
    n = (weight > 0).sum(-1, keepdim=True).to(weight.dtype)
    return torch.where(_differ(weight, weight), 1.0, n / (n - 1).clamp_min(1))


def standardize(
    score: Tensor, weight: Tensor | None = None, eps: float = 0.0, floor: float = 0.0, bessel: bool = False
) -> Tensor:
    """(score - mean) / (std + eps) within the group: (*L,B,K). It is 0 where all scores are equal or std <= floor.

    Mean and std are weighted by `weight` (*L,B,K), so a candidate of weight 0 is left out. std is that of a population,
    or with `bessel` that of a sample.
    """
    weight = torch.ones_like(score) if weight is None else weight
    centred = centre(score, weight)
    variance = (normalized(weight) * centred.square()).sum(-1, keepdim=True)
    std = (variance * bessel_correction(weight) if bessel else variance).sqrt()
    return centred * torch.where(std > floor, 1 / (std + eps), 0.0)


def _differ(x: Tensor, weight: Tensor) -> Tensor:
    """(*L,B,1) true where the candidates of positive weight are not all equal."""
    return _largest(x, weight) > -_largest(-x, weight)


def _largest(x: Tensor, weight: Tensor) -> Tensor:
    """The largest value of each group (*L,B,1), over the candidates of positive weight."""
    return torch.where(weight > 0, x, -torch.inf).amax(-1, keepdim=True)
