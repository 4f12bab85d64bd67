"""A contextual bandit whose contexts pay in units of their own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.base import require
from envs.base import Env, Spec


@dataclass(frozen=True)
class ShiftedBandit(Env):
    """One of `arms` arms is right in each of `num_contexts` contexts; every context has its own scale and shift.

        reward = scale_c 1[a = c mod arms] + shift_c,    scale_c = scale^x_c,    shift_c = shift (-1)^c

    x_c runs from -1 to 1 over the contexts c. `batch` contexts are drawn in a step. Comparing methods draw `candidates`
    actions in each, the others one. The baseline is the mean reward of the batch. The error is the mean over contexts
    of 1 - pi(right arm) of the policy before the step. Raises ValueError for a count too small or a scale below 1.
    """

    name = "shifted_bandit"

    num_contexts: int = 20
    arms: int = 10
    batch: int = 20
    candidates: int = 8
    scale: float = 10.0
    shift: float = 5.0

    def __post_init__(self):
        require(self.num_contexts >= 2, "num_contexts", self.num_contexts, ">= 2")
        require(self.arms >= 2, "arms", self.arms, ">= 2")
        require(self.batch >= 1, "batch", self.batch, ">= 1")
        require(self.candidates >= 1, "candidates", self.candidates, ">= 1")
        require(self.scale >= 1, "scale", self.scale, ">= 1")

    @property
    def spec(self) -> Spec:
        samplers = {"single": "single_actions", "greedy": "single_actions_with_greedy_baseline"}
        return Spec(
            contexts=self.num_contexts,
            actions=self.arms,
            samplers=samplers | {"group": "action_groups", "set": "action_groups"},
            group_size_settings={"group": "candidates", "set": "candidates"},
            chance_error=1 - 1 / self.arms,
        )

    def contexts(self, noise) -> Tensor:
        return (noise.uniform("context", self.batch) * self.num_contexts).long()

    def true_reward(self, contexts, device) -> Tensor:
        place = 2 * contexts / (self.num_contexts - 1) - 1
        scale, shift = self.scale**place, self.shift * (1 - 2 * (contexts % 2))
        right = torch.arange(self.arms, device=device) == (contexts % self.arms).unsqueeze(-1)
        return scale.unsqueeze(-1) * right + shift.unsqueeze(-1)

    def score(self, contexts, candidates, noise=None) -> Tensor:
        return self.true_reward(contexts, candidates.device).gather(2, candidates).unsqueeze(-1)

    def evaluate(self, policy, noise) -> dict[str, Tensor]:
        with torch.no_grad():
            pi = policy.table().exp()
            right = torch.arange(self.num_contexts, device=pi.device) % self.arms
            return {"error": 1 - pi.gather(2, right.view(1, -1, 1).expand(len(pi), -1, 1)).mean((1, 2))}
