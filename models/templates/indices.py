"""Template name: what the policy computes, in a line."""

from dataclasses import dataclass

from torch import nn

from algorithms.base import require
from models.base import CategoricalPolicy, ModelConfig, take_rows


@dataclass(frozen=True)
class TemplateNameConfig(ModelConfig):
    """Each context and each action has a vector of `rank` numbers; a logit is the product of two of them.

    Raises ValueError for a rank below 1.
    """

    name = "template_name"
    context_type = "indices"  # indices: bandits | features: images | tokens: strings

    # Settings, each with its default here and in the yaml file.
    rank: int = 8

    def __post_init__(self):
        require(self.rank >= 1, "rank", self.rank, ">= 1")

    def build(self, spec, noise):
        """The policy for a task with the facts of envs.base.Spec; each of S seeds has first values of its own."""
        rows = spec.contexts + spec.actions
        normal = noise.normal("init", rows * self.rank).view(-1, rows, self.rank) / self.rank**0.5
        return TemplateName(*normal.split([spec.contexts, spec.actions], dim=1))


class TemplateName(CategoricalPolicy):
    """Parameters (S,contexts,rank) and (S,A,rank); seeds lead, and share nothing."""

    def __init__(self, contexts, actions):
        super().__init__()
        self.contexts, self.actions = nn.Parameter(contexts.clone()), nn.Parameter(actions.clone())

    def _logits(self, contexts):
        """Logits (S,C,A) of contexts with the indices (S,C), or of all contexts where it is None."""
        rows = self.contexts if contexts is None else take_rows(self.contexts, contexts)
        return rows @ self.actions.transpose(1, 2)
