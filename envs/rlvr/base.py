"""The interface of a task for language models: problems, their prompts, and the grading of an answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from algorithms.base import require
from envs.base import Env, Spec
from envs.rlvr import tokens
from envs.rlvr.verify import Case, Grade, Pending, Pool, pool

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Problem:
    """A question in words, its right answer as a completion that earns the full score, and what its verifier needs."""

    prompt: str
    answer: str
    facts: dict[str, Any] = field(default_factory=dict)


class TextEnv(Env):
    """A frozen dataclass of settings, among them batch (prompts per step), candidates (K) and max_new_tokens.

    rule      what grades an answer in a child process (envs/rlvr/worker.py): "module:function" of the suite, which is
              called as function(facts, completion), or "FILE.py:function" of the user's, as function(completion, facts)
    chat      whether prompts go through the tokenizer's chat template: "auto" (where it has one), "always" or "never"
    stop      a character at which a completion ends, or None. Here and in a `template`, \\n is a new line
    thinking  value of `enable_thinking` that the chat template gets
    warm_accuracy  how often a model that starts untrained should be right before it learns from rewards
    """

    rule: ClassVar[str]
    warm_accuracy: ClassVar[float] = 0.0
    chat: str = "never"
    thinking: bool = False
    stop: str | None = None
    batch: int
    candidates: int
    max_new_tokens: int

    def __post_init__(self):
        require(self.batch >= 1, "batch", self.batch, ">= 1")
        require(self.candidates >= 1, "candidates", self.candidates, ">= 1")
        require(self.max_new_tokens >= 1, "max_new_tokens", self.max_new_tokens, ">= 1")
        for key in ("stop", "template"):  # a command line has no other way to write a new line
            text = getattr(self, key, None)
            if text is not None:
                object.__setattr__(self, key, text.replace("\\n", "\n"))
        stop_is_one = self.stop is None or (len(self.stop) == 1 and self.stop.isascii() and not self.stop.isalnum())
        # a shell without quotes makes n of \n
        require(
            stop_is_one,
            "stop",
            repr(self.stop),
            "null or one character of ASCII that is no letter or digit, in quotes: 'env.stop=\\n'",
        )
        require(self.chat in tokens.CHATS, "chat", self.chat, f"one of {', '.join(tokens.CHATS)}")

    @property
    def spec(self) -> Spec:
        return Spec(
            contexts=len(self.problems("train")),
            actions=0,  # the model's vocabulary, whichever it is
            horizon=self.max_new_tokens,
            samplers=dict.fromkeys(("single", "group", "set"), "completions")
            | {"greedy": "completions_with_greedy_baseline"},
            group_size_settings={"group": "candidates", "set": "candidates"},
            chance_error=1.0,
            tokenizer=self.tokenizer,
            stop=self.stop,
            epochs=1,
            tokens_per_rollout={"completions": self.batch * self.candidates * self.max_new_tokens},
        )

    def contexts(self, noise) -> Tensor:
        """Numbers (1,B) of the training problems of this step."""
        return self.drawn(noise, "context", self.batch)

    def drawn(self, noise, stream: str, n: int) -> Tensor:
        """Numbers (S,n) of training problems, drawn with replacement."""
        return (noise.uniform(stream, n).double() * len(self.problems("train"))).long()

    def problems(self, split: str) -> Sequence[Problem]:
        """The problems of one of SPLITS, in an order that never changes; they may be made when they are asked for."""
        raise NotImplementedError

    def tokenizer(self) -> Any:
        """The task's own tokenizer (transformers' interface), for models that come with none."""
        return tokens.utf8()

    def encode(self, problem: Problem, tokenizer: Any) -> list[int]:
        """The prompt as tokens; raises ValueError where the tokenizer lacks what the settings ask for."""
        return tokens.encode(problem.prompt, tokenizer, self.chat, self.thinking)

    @property
    def verifier(self) -> Pool:
        """The grader of completions, which keeps a record of those that it could not grade."""
        return pool(self.rule)

    @property
    def has_answers(self) -> bool:
        """Whether every training problem comes with a right answer, which a warm start learns from."""
        return True

    def submit(self, problems: Sequence[Problem], completions: Sequence[str]) -> Pending:
        """Start to grade, and go on; `.result()` waits for one grade per completion, in order."""
        pairs = zip(problems, completions, strict=True)
        return self.verifier.submit([Case(p.facts, p.answer, self.graded_part(text)) for p, text in pairs])

    def graded_part(self, completion: str) -> str:
        """The text before the first `stop`, without the space around it; without a `stop`, all of it."""
        return completion if self.stop is None else completion.partition(self.stop)[0].strip()

    def grade(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[Grade]:
        """One grade per completion, in order; the same rule for reward and for evaluation."""
        return self.submit(problems, completions).result()
