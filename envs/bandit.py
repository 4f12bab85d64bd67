"""Tabular bandits: one context with sampled rewards, and many contexts with exact gradients."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.base import require
from envs.base import DRAWN, Env, Spec


@functools.cache
def paying_arms(arms: int, correct: int, device: torch.device) -> Tensor:
    """Reward (1, 1, arms) of a bandit whose first `correct` arms pay 1 and whose others pay 0."""
    return (torch.arange(arms, device=device) < correct).float().expand(1, 1, -1)


def misalignment(grad: Tensor, oracle: Tensor) -> Tensor:
    """1 - cos(grad, oracle) per seed (S,), of gradients (S,contexts,A); 1 where either is zero."""
    scale = torch.linalg.vector_norm(grad, dim=(1, 2)) * torch.linalg.vector_norm(oracle, dim=(1, 2))
    return 1 - (grad * oracle).sum((1, 2)) / scale.clamp_min(torch.finfo(grad.dtype).tiny)


def gradient_of_logits(policy) -> Tensor | None:
    """Gradient (S,contexts,A) of a policy whose parameters are the logits themselves; None for any other policy."""
    logits = getattr(policy, "logits", None)
    return logits.grad if isinstance(logits, Tensor) else None


@dataclass(frozen=True)
class SparseBandit(Env):
    """One context, `arms` arms of which the first `correct` pay 1 and the others 0; `batch` arms are drawn a step.

    Noise of std `reward_noise` is added to each drawn reward. Error: 1 - pi(paying arms), of the policy that drew the
    batch. Misalignment: 1 - cos to the gradient of the expected reward. https://arxiv.org/abs/2604.06159 (figure 2)
    """

    name = "sparse_bandit"

    arms: int = 100
    correct: int = 1
    batch: int = 100
    reward_noise: float = 0.0
    baseline: float = 0.5

    def __post_init__(self):
        require(self.arms >= 2, "arms", self.arms, ">= 2")
        require(1 <= self.correct < self.arms, "correct", self.correct, f"between 1 and arms - 1 = {self.arms - 1}")
        require(self.batch >= 1, "batch", self.batch, ">= 1")
        require(self.reward_noise >= 0, "reward_noise", self.reward_noise, ">= 0")

    @property
    def spec(self) -> Spec:
        return Spec(
            contexts=1,
            actions=self.arms,
            samplers=DRAWN,
            groups={"group": "batch", "set": "arms"},
            chance=1 - self.correct / self.arms,
            epochs=1,
        )

    def contexts(self, noise) -> None:
        return None

    def true_reward(self, contexts, device) -> Tensor:
        return paying_arms(self.arms, self.correct, device)

    def score(self, contexts, candidates, noise) -> Tensor:
        reward = (candidates < self.correct).float()
        if self.reward_noise:
            reward = reward + self.reward_noise * noise.normal("reward", candidates[0].numel()).view_as(reward)
        return reward.unsqueeze(-1)

    def evaluate(self, policy, noise) -> dict[str, Tensor]:
        with torch.no_grad():
            return {"error": 1 - policy.table()[..., 0, : self.correct].exp().sum(-1)}

    def gradient_metrics(self, policy) -> dict[str, Tensor]:
        grad = gradient_of_logits(policy)
        if grad is None:
            return {}
        with torch.no_grad():
            pi, reward = policy.table().exp(), self.true_reward(None, grad.device)
            oracle = pi * (reward - (pi * reward).sum(-1, keepdim=True))
            return {"misalignment": misalignment(-grad, oracle)}


@dataclass(frozen=True)
class ContextualBandit(Env):
    """`num_contexts` contexts x `arms` arms, the first of which pays 1; every gradient is the exact population one.

    Error: mean over contexts of 1 - pi(paying arm), after the step. Misalignment: 1 - cos to the gradient of
    cross-entropy, over all contexts at once. https://arxiv.org/abs/2604.06159 (figure 3)
    """

    name = "contextual_bandit"

    num_contexts: int = 100
    arms: int = 10

    def __post_init__(self):
        require(self.num_contexts >= 1, "num_contexts", self.num_contexts, ">= 1")
        require(self.arms >= 2, "arms", self.arms, ">= 2")

    @property
    def spec(self) -> Spec:
        return Spec(
            contexts=self.num_contexts,
            actions=self.arms,
            samplers=dict.fromkeys(("single", "group", "set", "oracle"), "exact") | {"greedy": "exact_beside_greedy"},
            groups={"group": "arms", "set": "arms"},
            chance=1 - 1 / self.arms,
            epochs=1,
            eval_at="update",
        )

    def contexts(self, noise) -> None:
        return None

    def true_reward(self, contexts, device) -> Tensor:
        return paying_arms(self.arms, 1, device)

    def evaluate(self, policy, noise) -> dict[str, Tensor]:
        with torch.no_grad():
            return {"error": 1 - policy.table()[..., 0].exp().mean(-1)}

    def gradient_metrics(self, policy) -> dict[str, Tensor]:
        grad = gradient_of_logits(policy)
        if grad is None:
            return {}
        with torch.no_grad():
            oracle = self.true_reward(None, grad.device) - policy.table().exp()
            return {"misalignment": misalignment(-grad, oracle)}
