"""Token reversal and its variants: write the prompt backwards, or flipped, one token at a time."""

from dataclasses import dataclass

from torch import Tensor

from algorithms.base import require
from envs.base import Env, Spec

TARGETS = ("copy", "flip", "reverse_copy", "reverse_flip")
REWARDS = ("bag_of_tokens", "sequential", "terminal")


@dataclass(frozen=True)
class TokenReversal(Env):
    """`batch` prompts of `horizon` tokens from a vocabulary of `vocab`; the answer has as many tokens.

    target   copy, flip (v -> vocab - 1 - v), reverse_copy, reverse_flip
    reward   bag_of_tokens: 1 per correct token; sequential: 1 while all so far are correct; terminal: 1 on every token
             if all are correct, else 0
    Comparing methods draw `candidates` answers per prompt, or, as sampler=token_group, as many next tokens at each
    state of one answer. Error: 1 - mean reward of the rollouts. https://arxiv.org/abs/2604.06159 (figures 5 to 8)
    """

    name = "token_reversal"

    target: str = "reverse_copy"
    reward: str = "terminal"
    horizon: int = 8
    vocab: int = 2
    batch: int = 100
    candidates: int = 8

    def __post_init__(self):
        require(self.target in TARGETS, "target", self.target, f"one of {', '.join(TARGETS)}")
        require(self.reward in REWARDS, "reward", self.reward, f"one of {', '.join(REWARDS)}")
        require(self.horizon >= 1, "horizon", self.horizon, ">= 1")
        require(self.vocab >= 2, "vocab", self.vocab, ">= 2")
        require(self.batch >= 1, "batch", self.batch, ">= 1")
        require(self.candidates >= 1, "candidates", self.candidates, ">= 1")

    @property
    def spec(self) -> Spec:
        samplers = {"single": "single_rollout", "greedy": "single_rollout_with_greedy_baseline"}
        samplers |= {"group": "group_rollouts", "set": "group_rollouts"}
        # a terminal reward is known only for whole answers, never for one token of them
        token_samplers = {} if self.reward == "terminal" else {"group": "token_group", "set": "token_group"}
        correct = self.vocab**-self.horizon if self.reward == "terminal" else 1 / self.vocab
        if self.reward == "sequential":
            correct = sum(self.vocab**-t for t in range(1, self.horizon + 1)) / self.horizon
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
            chance_error=1 - correct,
            tokens_per_rollout={
                layout: self.batch * (self.horizon + k * (self.horizon - 1)) for layout, k in answers.items()
            },
        )

    def contexts(self, noise) -> Tensor:
        uniform = noise.uniform("context", self.batch * self.horizon).view(-1, self.batch, self.horizon)
        return (uniform * self.vocab).long()

    def answer(self, prompts: Tensor) -> Tensor:
        """The right tokens (S,B,H) for prompts (S,B,H)."""
        answer = prompts.flip(-1) if self.target.startswith("reverse") else prompts
        return self.vocab - 1 - answer if self.target.endswith("flip") else answer

    def score(self, contexts, candidates, noise=None) -> Tensor:
        correct = (candidates == self.answer(contexts).unsqueeze(2)).float()
        if self.reward == "bag_of_tokens":
            return correct
        if self.reward == "sequential":
            return correct.cumprod(-1)
        return correct.prod(-1, keepdim=True).expand_as(correct)

    def score_tokens(self, prompts: Tensor, tokens: Tensor) -> Tensor:
        """Rewards (S,B,H,K) of next tokens (S,B,H,K) after each prefix of the answer that the first of them make."""
        answer = self.answer(prompts)
        correct = (tokens == answer.unsqueeze(-1)).float()
        if self.reward == "bag_of_tokens":
            return correct
        so_far = correct[..., 0].cumprod(-1).roll(1, -1)
        so_far[..., 0] = 1
        return correct * so_far.unsqueeze(-1)
