"""Tasks over strings of tokens: what they share, and token reversal with its variants."""

from dataclasses import dataclass

from torch import Tensor

from algorithms.base import require
from envs.base import Env, Spec

TARGETS = ("copy", "flip", "reverse_copy", "reverse_flip")
REWARDS = ("bag_of_tokens", "sequential", "terminal")
LONGEST = 10_000  # tokens; the attention of a policy takes memory that grows with the square of an answer's length
MOST_TOKENS = 2**24  # different ones, which a uniform number in float32 tells apart


@dataclass(frozen=True)
class SequenceEnv(Env):
    """`batch` prompts of `horizon` tokens, the numbers 0 to `vocab` - 1; an answer has as many tokens.

    reward   bag_of_tokens: 1 per correct token; sequential: 1 while all so far are correct; terminal: 1 on every token
             if all are correct, else 0
    Comparing methods draw `candidates` answers per prompt, or, as sampler=token_group, as many next tokens at each
    state of one answer. Error: 1 - mean reward of the rollouts.

    A task derives from this class and says in `answer` what is right. One with several right answers to a prompt also
    says in `correct` and `score_tokens` which tokens are right, and in `chance_error` how well random answers do.

    Raises ValueError for a size that is impossible.
    """

    reward: str = "terminal"
    horizon: int = 8
    vocab: int = 2
    batch: int = 100
    candidates: int = 8

    def __post_init__(self):
        require(self.reward in REWARDS, "reward", self.reward, f"one of {', '.join(REWARDS)}")
        require(1 <= self.horizon <= LONGEST, "horizon", self.horizon, f"from 1 to {LONGEST}")
        require(2 <= self.vocab <= MOST_TOKENS, "vocab", self.vocab, f"from 2 to {MOST_TOKENS}")
        require(self.batch >= 1, "batch", self.batch, ">= 1")
        require(self.candidates >= 1, "candidates", self.candidates, ">= 1")

    def answer(self, prompts: Tensor) -> Tensor:
        """A right answer (S,B,H) to each of the prompts (S,B,H)."""
        raise NotImplementedError

    def correct(self, prompts: Tensor, answers: Tensor) -> Tensor:
        """1 for each token of answers (S,B,K,H) to prompts (S,B,H) that is right after those before it, else 0."""
        return (answers == self._checked_answer(prompts).unsqueeze(2)).float()

    def _checked_answer(self, prompts: Tensor) -> Tensor:
        """`answer`; raises ValueError unless it has a token for each token of the prompts."""
        right = self.answer(prompts)
        if not (isinstance(right, Tensor) and right.shape == prompts.shape):
            found = f"a tensor {tuple(right.shape)}" if isinstance(right, Tensor) else type(right).__name__
            must = f"must be a right answer to each prompt, a tensor {tuple(prompts.shape)}"
            raise ValueError(f"{type(self).__name__}.answer returned {found}; {must}")
        return right

    @property
    def chance_error(self) -> float:
        """The error of random answers, where each prompt has one right answer."""
        if self.reward == "terminal":
            return 1 - self.vocab**-self.horizon
        if self.reward == "sequential":
            return 1 - sum(self.vocab**-t for t in range(1, self.horizon + 1)) / self.horizon
        return 1 - 1 / self.vocab

    @property
    def spec(self) -> Spec:
        samplers = {"single": "single_rollout", "greedy": "single_rollout_with_greedy_baseline"}
        samplers |= {"group": "group_rollouts", "set": "group_rollouts"}
        # a terminal reward is known only for whole answers, never for one token of them
        token_samplers = {} if self.reward == "terminal" else {"group": "token_group", "set": "token_group"}
        answers = {
            "single_rollout": 1,
            "single_rollout_with_greedy_baseline": 1,
            "group_rollouts": self.candidates,
            "token_group": 1,
        }
        return Spec(
            contexts=self.vocab**self.horizon,
            actions=self.vocab,
            horizon=self.horizon,
            samplers=samplers,
            token_samplers=token_samplers,
            group_size_settings={"group": "candidates", "set": "candidates"},
            chance_error=self.chance_error,
            tokens_per_rollout={
                layout: self.batch * (self.horizon + k * (self.horizon - 1)) for layout, k in answers.items()
            },
        )

    def contexts(self, noise) -> Tensor:
        uniform = noise.uniform("context", self.batch * self.horizon).view(-1, self.batch, self.horizon)
        return (uniform * self.vocab).long()

    def score(self, contexts, candidates, noise=None) -> Tensor:
        correct = self.correct(contexts, candidates)
        if self.reward == "bag_of_tokens":
            return correct
        if self.reward == "sequential":
            return correct.cumprod(-1)
        return correct.prod(-1, keepdim=True).expand_as(correct)

    def score_tokens(self, prompts: Tensor, tokens: Tensor) -> Tensor:
        """Rewards (S,B,H,K) of next tokens (S,B,H,K), K after each prefix of an answer, which is tokens[..., 0]."""
        correct = (tokens == self._checked_answer(prompts).unsqueeze(-1)).float()
        if self.reward == "bag_of_tokens":
            return correct
        so_far = correct[..., 0].cumprod(-1).roll(1, -1)
        so_far[..., 0] = 1
        return correct * so_far.unsqueeze(-1)


@dataclass(frozen=True)
class TokenReversal(SequenceEnv):
    """Write the prompt backwards, or flipped. https://arxiv.org/abs/2604.06159 (figures 5 to 8)

    target   copy, flip (v -> vocab - 1 - v), reverse_copy, reverse_flip
    """

    name = "token_reversal"

    target: str = "reverse_copy"

    def __post_init__(self):
        require(self.target in TARGETS, "target", self.target, f"one of {', '.join(TARGETS)}")
        super().__post_init__()

    def answer(self, prompts: Tensor) -> Tensor:
        answer = prompts.flip(-1) if self.target.startswith("reverse") else prompts
        return self.vocab - 1 - answer if self.target.endswith("flip") else answer
