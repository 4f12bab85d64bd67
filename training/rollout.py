"""A rollout: what an objective compares, and which rows of it a policy has to compute again in each epoch."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from algorithms.base import Batch, Objective
from models.base import Policy, take_rows


@dataclass(frozen=True)
class Rollout:
    """Scored candidates, and a function that computes their log-probs under any policy.

    batch            what the objective compares
    logp             function (policy) -> log-probs (*L,B,K,T) of the candidates. Where a forward pass is costly, also
                     (policy, rows (S,n)) -> log-probs of these rows alone
    metrics          {name: (S,)} of the drawn candidates
    identical        (S,P) true for a prompt whose candidates are all identical; None where a forward pass is cheap
    success          (S,B,K) true for a right candidate; None where the task does not know
    rows_per_prompt  rows that `logp` takes for each of the P prompts: 1 if all its candidates pass together
    token_count      number of drawn tokens, where the speed is measured in tokens, else 0
    """

    batch: Batch
    logp: Callable[..., Tensor]
    metrics: dict[str, Tensor] = field(default_factory=dict)
    identical: Tensor | None = None
    success: Tensor | None = None
    rows_per_prompt: int = 1
    token_count: int = 0

    def with_reference(self, reference: Policy) -> "Rollout":
        """The same rollout with the log-probs of its candidates under a reference policy."""
        with torch.no_grad():
            return replace(self, batch=replace(self.batch, logp_ref=self.logp(reference)))

    def active_rows(self, objective: Objective, on_policy: bool) -> Tensor:
        """(S,P*rows_per_prompt) true for the rows in which the objective may have a gradient.

        `on_policy`: the current policy is the one that drew the candidates.
        """
        inactive = self.identical & objective.shift_invariant_in_logp
        if objective.zero_variance_gradient == "none" or (
            objective.zero_variance_gradient == "none_on_policy" and on_policy
        ):
            zero_variance = zero_variance_contexts(objective, self.batch)
            inactive = inactive | zero_variance.view(*inactive.shape, -1).all(-1)
        return (~inactive).repeat_interleave(self.rows_per_prompt, dim=1)

    def logp_of_active_rows(self, active: Tensor, policy: Policy) -> Tensor:
        """Log-probs (*L,B,K,T) of the active rows under `policy`, and logp_old for the other rows."""
        least, most = torch.stack(active.sum(1).aminmax()).tolist()  # a GPU waits here once
        if least == active.shape[1]:
            return self.logp(policy)
        old, rows = self.batch.logp_old, active_row_numbers(active, most)
        per_row = old.reshape(*active.shape, -1)
        computed = self.logp(policy, rows).reshape(*rows.shape, -1)
        computed = torch.where(take_rows(active, rows).unsqueeze(-1), computed, take_rows(per_row, rows))
        return per_row.scatter(1, rows.unsqueeze(-1).expand_as(computed), computed).view(old.shape)


def active_row_numbers(active: Tensor, most: int | None = None) -> Tensor:
    """Numbers (S,n) of the active rows, where n is the largest count of any seed; other seeds add inactive rows."""
    most = int(active.sum(1).max()) if most is None else most
    return active.int().argsort(dim=1, descending=True, stable=True)[:, : max(1, most)]


def zero_variance_contexts(objective: Objective, batch: Batch) -> Tensor:
    """(S,B) true for a context whose scores are all equal, or, for single rollouts, whose advantages are all 0."""
    if objective.sampler == "single":
        return (batch.advantage == 0).flatten(-2).all(-1)
    return equal_scores(batch)


def equal_scores(batch: Batch) -> Tensor:
    """(S,B) true for a context whose candidates all have the same score."""
    return batch.score.amax(-1) == batch.score.amin(-1)
