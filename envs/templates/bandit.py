"""Template name: what is asked and what pays, in a line."""

from dataclasses import dataclass

import torch

from algorithms.base import require
from envs.base import ACTION_SAMPLERS, Env, Spec


@dataclass(frozen=True)
class TemplateName(Env):
    """`batch` of `num_contexts` contexts are drawn a step; in context c, arm c mod `arms` pays 1 and the others 0.

    Error: mean over all contexts of 1 - the probability of the arm that pays. Raises ValueError for a count too small.
    """

    name = "template_name"  # the `task` of the yaml file

    # Settings, each with its default here and in the yaml file.
    num_contexts: int = 20
    arms: int = 5
    batch: int = 100

    def __post_init__(self):
        require(self.num_contexts >= 1, "num_contexts", self.num_contexts, ">= 1")
        require(self.arms >= 2, "arms", self.arms, ">= 2")
        require(self.batch >= 1, "batch", self.batch, ">= 1")

    @property
    def spec(self) -> Spec:
        """The facts that samplers and policies need; envs/base.py says what each means."""
        return Spec(
            contexts=self.num_contexts,
            actions=self.arms,
            samplers=ACTION_SAMPLERS,
            group_size_settings={"group": "batch"},
            chance_error=1 - 1 / self.arms,
            epochs=1,
        )

    def contexts(self, noise):
        """Numbers (S,B) of the contexts of a step: S seeds, each with noise of its own."""
        return (noise.uniform("context", self.batch) * self.num_contexts).long()

    def true_reward(self, contexts, device):
        """The expected reward (S,B,A) of every arm."""
        return torch.nn.functional.one_hot(contexts % self.arms, self.arms).float()

    def score(self, contexts, candidates, noise):
        """The rewards (S,B,K,1) of drawn arms (S,B,K)."""
        return self.true_reward(contexts, None).gather(2, candidates).unsqueeze(-1)

    def evaluate(self, policy, noise):
        """The error (S,) of a policy, whose log-probs are a table (S,contexts,arms)."""
        with torch.no_grad():
            pi = policy.table().exp()
            reward = self.true_reward(torch.arange(self.num_contexts, device=pi.device), pi.device)
            return {"error": 1 - (pi * reward).sum(-1).mean(-1)}
