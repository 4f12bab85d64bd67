"""Template name: what it does, in a line."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, Objective, group_sum, require, standardize, token_sum


@dataclass(frozen=True)
class TemplateName(Objective):
    """The idea in a sentence, then the loss to minimise.

        loss = -sum_i w_i max(u_i, 0)^power l_i,    u_i = (s_i - mean) / std,    l_i = sum_t log pi(y_it)

    What published implementations do differently, if it is published. Raises ValueError for power <= 0.
    https://example.org/template_name
    """

    name = "template_name"  # the `objective` of the yaml file
    paper = "https://example.org/template_name"
    sampler = "group"  # what the loss compares: single | group | set | oracle
    # The contract tests hold you to these; algorithms/base.py says what each means.
    invariances = frozenset({"shift", "scale"})  # of all rewards
    zero_variance_gradient = "none"  # when a group of equal scores has no gradient: none | none_on_policy | nonzero
    epochs = 4  # gradient steps per rollout

    # Hyperparameters, each with its default here and in the yaml file.
    power: float = 1.0

    def __post_init__(self):
        require(self.power > 0, "power", self.power, "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        """Loss (*L) and metrics {name: (*L)}; logp (*L,B,K,T): *L seeds, B contexts, K candidates, T tokens."""
        u = standardize(batch.score, batch.effective_weight)
        advantage = u.clamp_min(0) ** self.power
        return group_sum(-advantage * token_sum(logp, batch.mask), batch.effective_weight), {}
