"""Template name: a policy that writes strings of tokens, in a line."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import one_hot

from algorithms.base import require
from models.autoregressive import AutoregressivePolicy
from models.base import ModelConfig, lecun_normal


@dataclass(frozen=True)
class TemplateNameConfig(ModelConfig):
    """One hidden layer of `width` units over the prompt, what is written so far, and the position.

    Raises ValueError for a width below 1.
    """

    name = "template_name"
    context_type = "tokens"  # indices: bandits | features: images | tokens: strings

    # Settings, each with its default here and in the yaml file.
    width: int = 64

    def __post_init__(self):
        require(self.width >= 1, "width", self.width, ">= 1")

    def build(self, spec, noise):
        """The policy for a task with the facts of envs.base.Spec; each of S seeds has first values of its own."""
        inputs = 2 * spec.horizon * spec.actions + spec.horizon
        sizes = inputs * self.width, self.width * spec.actions
        first, second = noise.uniform("init", sum(sizes)).split(sizes, dim=1)
        kernels = lecun_normal(first, inputs), lecun_normal(second, self.width)
        return TemplateName(kernels[0].view(-1, inputs, self.width), kernels[1].view(-1, self.width, spec.actions))


class TemplateName(AutoregressivePolicy):
    """Parameters (S,inputs,width) and (S,width,V); seeds lead, and share nothing."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = nn.Parameter(first), nn.Parameter(second)

    def table(self, prompts, answers):
        """Log-probs (S,B,K,H,V) of every next token of answers (S,B,K,H) to prompts (S,B,H)."""
        s, b, k, h = answers.shape
        vocab = self.second.shape[-1]
        asked = one_hot(prompts, vocab).view(s, b, 1, 1, h * vocab).expand(-1, -1, k, h, -1)
        before = torch.ones(h, h, device=answers.device).tril(-1).unsqueeze(-1)  # position t sees what is before it
        written = (one_hot(answers, vocab).unsqueeze(3) * before).flatten(-2)
        position = torch.eye(h, device=answers.device).expand(s, b, k, -1, -1)
        x = torch.cat([asked, written, position], dim=-1).flatten(1, 3)
        return ((x @ self.first).relu() @ self.second).log_softmax(-1).view(s, b, k, h, vocab)
