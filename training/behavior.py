"""Rollouts from a policy that lags behind the one in training."""

import copy
from collections import deque

from torch import Tensor

from models.base import Policy


class BehaviorPolicy:
    """`policy` as it was `updates` rollouts ago, or as it first was where there have been fewer."""

    def __init__(self, policy: Policy, updates: int):
        self.policy, self.behaviour = policy, copy.deepcopy(policy) if updates else policy
        self.past: deque[dict[str, Tensor]] = deque(maxlen=updates + 1)

    def next_rollout_policy(self) -> Policy:
        """The policy to draw the next rollout from; call it once before each."""
        if self.behaviour is not self.policy:
            self.past.append({name: value.clone() for name, value in self.policy.state_dict().items()})
            self.behaviour.load_state_dict(self.past[0])
        return self.behaviour
