"""What the trainer needs to know of a task."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

# the layouts of a task whose actions can be drawn and listed
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

    contexts   distinct contexts of a tabular task
    actions    actions per token
    samplers   {Objective.required_sampler: the layout of `training.sampling` that serves it}
    groups     {Objective.sampler: setting of how many candidates it compares}, which must be at least 2
    inputs     features (N,F) of each context, for policies that read them
    horizon    tokens per candidate
    tokens     {layout: tokens that a seed passes through its policy in one rollout}, where that is what costs
    token_samplers  the layouts of sampler=token_group, which compares next tokens instead of whole candidates
    chance_error  error of the uniform policy
    epochs     gradient steps per rollout, or None for the objective's own
    tokenizer  makes the tokenizer of a task in words, for language models that come with none
    eval_at    "rollout": metrics of the policy that drew the batch; "update": of the policy after it
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
    eval_at: str = "rollout"

    @property
    def context_type(self) -> str:
        """What the contexts are made of, which a policy has to read: words, features, tokens or numbers."""
        if self.tokenizer is not None:
            return "text"
        return "features" if self.inputs is not None else "tokens" if self.tokens_per_rollout else "indices"


class Env:
    """A frozen dataclass of settings; impossible ones raise ValueError. S seeds lead every tensor."""

    name: ClassVar[str]
    baseline: ClassVar[float] = 0.0

    @property
    def spec(self) -> Spec:
        raise NotImplementedError

    def contexts(self, noise) -> Tensor | None:
        """Contexts (S,B) of one batch; None for all contexts in order."""
        raise NotImplementedError

    def score(self, contexts: Tensor | None, candidates: Tensor, noise) -> Tensor:
        """Rewards (S,B,K,T) of candidates (S,B,K)."""
        raise NotImplementedError

    def context_baseline(self, logp: Tensor) -> Tensor:
        """Baseline of contexts whose actions have log-probs (S,C,A): (S,C,1), or () for one number."""
        return torch.tensor(self.baseline, device=logp.device)

    def true_reward(self, contexts: Tensor | None, device: torch.device) -> Tensor:
        """Expected reward (S,C,A), or broadcast, of every action."""
        raise NotImplementedError

    def evaluate(self, policy, noise) -> dict[str, Tensor]:
        """Metrics {name: (S,)} of the policy beyond those of its rollouts; one of both is "error"; lower is better."""
        return {}

    def labelled_contexts(self) -> tuple[Tensor, Tensor] | None:
        """Features (N,F) and right actions (N,) of held-out contexts, where a task has them."""
        return None

    def gradient_metrics(self, policy) -> dict[str, Tensor]:
        """Metrics {name: (S,)} of the policy's first-epoch gradient, read from `.grad`."""
        return {}
