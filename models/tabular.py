"""A softmax policy with one logit per context and action."""

from dataclasses import dataclass

from torch import Tensor, nn

from algorithms.base import require
from models.base import CategoricalPolicy, ModelConfig


@dataclass(frozen=True)
class TabularConfig(ModelConfig):
    """A table of logits, drawn from N(0, init_std^2) at first. Raises ValueError for init_std < 0."""

    name = "tabular"
    context_type = "indices"

    init_std: float = 0.0

    def __post_init__(self):
        require(self.init_std >= 0, "init_std", self.init_std, ">= 0")

    def build(self, spec, noise) -> "Tabular":
        normal = noise.normal("init", spec.contexts * spec.actions)
        return Tabular(self.init_std * normal.view(-1, spec.contexts, spec.actions))


class Tabular(CategoricalPolicy):
    """Logits (S, contexts, A)."""

    def __init__(self, logits: Tensor):
        super().__init__()
        # stored with the actions outermost, which makes reductions over a few actions several times faster
        self.logits = nn.Parameter(logits.transpose(1, 2).contiguous().transpose(1, 2))

    def _logits(self, contexts) -> Tensor:
        if contexts is None:
            return self.logits
        return self.logits.gather(1, contexts.unsqueeze(-1).expand(-1, -1, self.logits.shape[-1]))
