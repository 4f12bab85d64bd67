"""Tabular bandits: one context with sampled rewards, and many contexts with exact gradients."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.base import require
from envs.base import ACTION_SAMPLERS, Env, Spec


@functools.cache
def paying_arms(arms: int, correct: int, device: torch.device) -> Tensor:
    """Rewards (1,1,arms) of a bandit: 1 for the first `correct` arms, 0 for the others."""
    return (torch.arange(arms, device=device) < correct).float().expand(1, 1, -1)


def misalignment(policy, oracle: Tensor) -> dict[str, Tensor]:
    """{"misalignment": (S,)}: 1 - cos of minus the gradient on a policy's logits and `oracle`, both (S,contexts,A).

    It is 1 where one of them is zero. Once a policy is within 1e-6 of its optimum both gradients are rounding of
    float32, and it means nothing. A policy whose parameters are not the logits themselves has no such metric.
    """
    logits = getattr(policy, "logits", None)
    if not isinstance(logits, Tensor):
        return {}
    norms = torch.linalg.vector_norm(logits.grad, dim=(1, 2)) * torch.linalg.vector_norm(oracle, dim=(1, 2))
    return {"misalignment": 1 + (logits.grad * oracle).sum((1, 2)) / norms.clamp_min(torch.finfo(norms.dtype).tiny)}


@dataclass(frozen=True)
class SparseBandit(Env):
    """A bandit with one context and sampled rewards. The first `correct` of its `arms` arms pay 1, the others 0.

    `batch` arms are drawn in a step. Noise of std `reward_noise` is added to each drawn reward. The error is
    1 - pi(paying arms) of the policy before the step. The misalignment is 1 - cos of the gradient and that of the
    expected reward. https://arxiv.org/abs/2604.06159 (figure 2)
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
            samplers=ACTION_SAMPLERS,
            group_size_settings={"group": "batch", "set": "arms"},
            chance_error=1 - self.correct / self.arms,
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
        pi = policy.table().detach().exp()
        reward = self.true_reward(None, pi.device)
        return misalignment(policy, pi * (reward - (pi * reward).sum(-1, keepdim=True)))


@dataclass(frozen=True)
class ContextualBandit(Env):
    """A bandit with `num_contexts` contexts and exact gradients. In each context the first of `arms` arms pays 1.

    The error is the mean over contexts of 1 - pi(paying arm), after the step. The misalignment is 1 - cos of the
    gradient and that of cross-entropy, over all contexts together. https://arxiv.org/abs/2604.06159 (figure 3)
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
            samplers=dict.fromkeys(("single", "group", "set", "oracle"), "exact_expectation")
            | {"greedy": "exact_expectation_with_greedy_baseline"},
            group_size_settings={"group": "arms", "set": "arms"},
            chance_error=1 - 1 / self.arms,
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
        pi = policy.table().detach().exp()
        return misalignment(policy, self.true_reward(None, pi.device) - pi)
