"""Log-probs through which the gradient of a loss reaches the policy: in one pass, or in two passes.

Both classes have one method, `logp(rollout, objective, on_policy)`. It returns the log-probs (*L,B,K,T) of the
rollout's candidates under the current policy. Calling backward() on a loss of these log-probs adds its gradient to the
`.grad` of the parameters. `on_policy` says that the current policy is the one that drew the candidates. Rows in which
the objective has no gradient are not computed.
"""

import torch
from torch import Tensor

from algorithms.base import Objective
from models.base import MicroBatchedPolicy, Policy, take_rows
from training import distributed
from training.rollout import Rollout, active_row_numbers


class OnePass:
    """A forward pass over the whole batch, whose graph is kept until the loss is known.

    exact_ratio  on the rollout policy, return its log-probs from the rollout, so that all ratios are exactly 1. A model
                 of low precision rounds differently with a cache than without
    retain_grad  keep the gradient of the loss on the log-probs in their `.grad`
    """

    def __init__(self, policy: Policy, exact_ratio: bool = False, retain_grad: bool = False):
        self.policy, self.exact_ratio, self.retain_grad = policy, exact_ratio, retain_grad

    def logp(self, rollout: Rollout, objective: Objective, on_policy: bool) -> Tensor:
        if rollout.identical is None:
            logp = rollout.logp(self.policy)
        else:
            logp = rollout.logp_of_active_rows(rollout.active_rows(objective, on_policy), self.policy)
        if on_policy and self.exact_ratio:
            logp = rollout.batch.logp_old + (logp - logp.detach())
        if self.retain_grad:
            logp.retain_grad()
        return logp


class TwoPass:
    """A forward pass without a graph, then one with a graph for each micro-batch, once the loss is known.

    A loss couples the candidates of a group, so it cannot be split into micro-batches. Its gradient g on the log-probs
    can be split: the second pass adds the gradient of sum(g * logp) of one micro-batch at a time. It runs inside
    backward(). Where several processes train the policy, each computes its shard of the rows, and gradients are summed.
    """

    def __init__(self, policy: Policy, params: list[Tensor], micro_batch: int | None):
        self.policy, self.params, self.micro_batch = policy, params, micro_batch

    def logp(self, rollout: Rollout, objective: Objective, on_policy: bool) -> Tensor:
        active = rollout.active_rows(objective, on_policy)
        if on_policy:
            logp = rollout.batch.logp_old.clone()
        else:
            with torch.no_grad():
                logp = rollout.logp_of_active_rows(active, split_policy(self.policy, self.micro_batch))
        logp.requires_grad_()
        logp.register_post_accumulate_grad_hook(lambda logp: self._second_pass(rollout, active, logp.grad))
        return logp

    @torch.enable_grad()
    def _second_pass(self, rollout: Rollout, active: Tensor, grad: Tensor) -> None:
        grad, rows = grad.reshape(*active.shape, -1) * active.unsqueeze(-1), active_row_numbers(active)
        rows = rows[:, distributed.local_slice(rows.shape[1])]
        for part in rows.split(self.micro_batch or max(1, rows.shape[1]), dim=1) if rows.numel() else ():
            logp = rollout.logp(self.policy, part).reshape(*part.shape, -1)
            (logp * take_rows(grad, part)).sum().backward()
        distributed.all_reduce_gradients(self.params)


def split_policy(policy: Policy, micro_batch: int | None) -> Policy:
    """The policy as it runs without a gradient: in micro-batches, and in shards where there are several processes."""
    policy = policy if micro_batch is None else MicroBatchedPolicy(policy, micro_batch)
    return policy if distributed.world_size() == 1 else distributed.ShardedPolicy(policy)
