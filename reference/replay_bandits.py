"""bandit_*.npz: whole learning curves through the real trainer."""

from collections.abc import Iterator

import numpy as np
import torch

from algorithms.base import Objective
from algorithms.ce import CE
from algorithms.dg import DG
from algorithms.grpo import GRPO
from algorithms.pg import PG
from algorithms.tpo import TPO
from envs.bandit import ContextualBandit, SparseBandit
from envs.base import Env
from models.tabular import Tabular
from reference import Check
from training.config import TrainConfig
from training.loop import Trainer
from training.noise import Noise
from training.optim import Normalized

TOLERANCE = 1e-5
LR = 0.1
OBJECTIVES: dict[str, Objective] = {"pg": PG(), "dg": DG(), "tpo": TPO(), "grpo": GRPO(), "ce": CE()}


class RecordedPolicy(Tabular):
    """A tabular policy whose draws are read off a recording (steps, batch)."""

    def __init__(self, logits: torch.Tensor, actions: np.ndarray):
        super().__init__(logits)
        self.draws = iter(torch.as_tensor(actions).long())

    def sample(self, contexts, uniforms):
        return next(self.draws).view(1, 1, -1)


def replay_single_context(data: dict[str, np.ndarray]) -> Iterator[Check]:
    """The number of arms is read off the first error, 1 - 1/arms."""
    for name in sorted(key.removesuffix("_actions") for key in data if key.endswith("_actions")):
        actions = data[f"{name}_actions"]
        arms = round(1 / (1 - float(data[f"{name}_error"][0])))
        env = SparseBandit(arms=arms, batch=actions.shape[1])
        yield from _curves(name, env, RecordedPolicy(torch.zeros(1, 1, arms), actions), data)


def replay_multi_context(data: dict[str, np.ndarray]) -> Iterator[Check]:
    logits = torch.as_tensor(data["initial_logits"]).unsqueeze(0)
    env = ContextualBandit(num_contexts=logits.shape[1], arms=logits.shape[2])
    for name in sorted(key.removesuffix("_error") for key in data if key.endswith("_error")):
        yield from _curves(name, env, Tabular(logits), data)


def _curves(name: str, env: Env, policy: Tabular, data: dict[str, np.ndarray]) -> Iterator[Check]:
    steps = len(data[f"{name}_error"])
    optimizer = Normalized(list(policy.parameters()), LR)
    history = Trainer(env, policy, OBJECTIVES[name], optimizer, Noise((0,)), TrainConfig(steps=steps)).run()
    for metric, values in history.arrays().items():
        yield f"{name}_{metric}", values[:, 0], data[f"{name}_{metric}"], TOLERANCE
