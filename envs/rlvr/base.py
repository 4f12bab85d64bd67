"""What a task for language models is: problems, how they are put to a model, and how an answer is graded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from envs.base import Env

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Problem:
    """A question in words, its right answer as a completion that earns the full score, and what its verifier needs."""

    prompt: str
    answer: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Grade:
    """Of one completion: score in [0, 1], whether it solves the problem, and "ok", "timeout" or "crash"."""

    score: float
    solved: bool
    status: str = "ok"


class TextEnv(Env):
    """A frozen dataclass of settings, among them batch (prompts per step), candidates (K) and max_new_tokens."""

    batch: int
    candidates: int
    max_new_tokens: int

    def problems(self, split: str) -> Sequence[Problem]:
        """The problems of one of SPLITS, in an order that never changes."""
        raise NotImplementedError

    def tokenizer(self) -> Any:
        """The task's own tokenizer (transformers' interface), for models that come with none."""
        raise NotImplementedError

    def encode(self, problem: Problem, tokenizer: Any) -> list[int]:
        """The prompt as tokens, in the tokenizer's chat template where the task uses one."""
        raise NotImplementedError

    def grade(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[Grade]:
        """One grade per completion, in order; the same rule for reward and for evaluation."""
        raise NotImplementedError
