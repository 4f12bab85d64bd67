"""The interface of a task: its facts (`Spec`), its contexts and its rewards (`Env`)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from algorithms.base import require

# the samplers of a task whose actions can be sampled and enumerated
ACTION_SAMPLERS = {
    "single": "sampled_actions",
    "greedy": "sampled_actions_with_greedy_baseline",
    "group": "sampled_actions",
    "set": "enumerated_actions",
    "oracle": "exact_expectation",
}


@dataclass(frozen=True)
class Spec:
    """Facts of a configured task.

    contexts             number of distinct contexts
    actions              number of actions per token
    samplers             {Objective.required_sampler: name of the sampler in `training.samplers` that serves it}
    group_size_settings  {Objective.sampler: setting that holds its number of candidates}, which must be at least 2
    chance_error         error of the uniform policy
    inputs               features (N,F) of each context, for policies that read them
    horizon              tokens per candidate
    token_samplers       as `samplers`, for sampler=token_group, which compares next tokens instead of whole candidates
    tokens_per_rollout   {sampler: tokens that the policy reads for one seed in one rollout}, where a pass is costly
    epochs               gradient steps per rollout, or None for the objective's own number
    tokenizer            function that makes the task's own tokenizer; only textual tasks have one
    stop                 a character at which a completion ends, of a textual task that has one
    eval_at              policy that `Env.evaluate` gets: the one that learns, before the step ("rollout") or after it
                         ("update")
    """

    contexts: int
    actions: int
    samplers: dict[str, str]
    group_size_settings: dict[str, str]
    chance_error: float
    inputs: Tensor | None = None
    horizon: int = 1
    token_samplers: dict[str, str] = field(default_factory=dict)
    tokens_per_rollout: dict[str, int] = field(default_factory=dict)
    epochs: int | None = None
    tokenizer: Callable[[], Any] | None = None
    stop: str | None = None
    eval_at: str = "rollout"

    def __post_init__(self):
        require(0 <= self.chance_error <= 1, "spec: chance_error", self.chance_error, "between 0 and 1")
        require(self.epochs is None or self.epochs >= 1, "spec: epochs", self.epochs, "None or >= 1")
        require(self.eval_at in ("rollout", "update"), "spec: eval_at", self.eval_at, "rollout or update")

    @property
    def is_text(self) -> bool:
        """Whether contexts are prompts in words, for a language model."""
        return self.tokenizer is not None

    @property
    def context_type(self) -> str:
        """The input of the policy: "text", "features", "tokens", or "indices" of contexts."""
        if self.is_text:
            return "text"
        return "features" if self.inputs is not None else "tokens" if self.tokens_per_rollout else "indices"


class Env:
    """A task: a frozen dataclass of settings, which raises ValueError for impossible ones.

    S seeds lead every tensor; B contexts have K candidates of T tokens each. `noise` is a `training.noise.Noise`.
    Samplers read some settings: `batch` where `contexts` gives None, `candidates` for groups of each context, and
    `batch`, `candidates` and `horizon` for strings.
    """

    name: ClassVar[str]
    baseline: ClassVar[float] = 0.0

    @property
    def spec(self) -> Spec:
        raise NotImplementedError(f"class {type(self).__name__} has no spec")

    def contexts(self, noise) -> Tensor | None:
        """Contexts (S,B) of one batch; None: every context once, in order."""
        raise NotImplementedError(f"class {type(self).__name__} has no contexts")

    def score(self, contexts: Tensor | None, candidates: Tensor, noise) -> Tensor:
        """Rewards (S,B,K,T) of candidates (S,B,K), or (S,B,K,T) where they have several tokens."""
        raise NotImplementedError(f"class {type(self).__name__} has no score")

    def context_baseline(self, logp: Tensor) -> Tensor:
        """Baseline (S,C,1) of contexts whose actions have log-probs (S,C,A), or () for one number."""
        return torch.tensor(self.baseline, device=logp.device)

    def true_reward(self, contexts: Tensor | None, device: torch.device) -> Tensor:
        """Expected reward of every action: (S,C,A), or a shape that broadcasts to it."""
        raise NotImplementedError(f"class {type(self).__name__} has no true_reward")

    def evaluate(self, policy, noise) -> dict[str, Tensor]:
        """Metrics {name: (S,)} of the policy, in addition to those of its rollouts.

        Either these or those of the rollouts include "error", from 0 to 1, of which lower is better.
        """
        return {}

    def labelled_contexts(self) -> tuple[Tensor, Tensor] | None:
        """Features (N,F) and right actions (N,) of held-out contexts; None if the task has none."""
        return None

    def gradient_metrics(self, policy) -> dict[str, Tensor]:
        """Metrics {name: (S,)} of the gradient of the first epoch, which the parameters hold in `.grad`."""
        return {}
