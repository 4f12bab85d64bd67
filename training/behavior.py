"""The policy that draws rollouts, which may lag behind the policy that learns."""

import copy
from collections import deque

from torch import Tensor

from models.base import Policy


class BehaviorPolicy:
    """The policy that learns, or a copy of it as it was `staleness` rollouts ago.

    As long as there have been fewer rollouts, the copy is the policy before its first step.
    """

    def __init__(self, policy: Policy, staleness: int):
        self.policy, self.stale_copy = policy, copy.deepcopy(policy) if staleness else None
        self.past: deque[dict[str, Tensor]] = deque(maxlen=staleness + 1)

    def next_rollout_policy(self) -> Policy:
        """The policy to draw the next rollout from. It must be called once before each rollout."""
        if self.stale_copy is None:
            return self.policy
        self.past.append({name: value.clone() for name, value in self.policy.state_dict().items()})
        self.stale_copy.load_state_dict(self.past[0])
        return self.stale_copy
