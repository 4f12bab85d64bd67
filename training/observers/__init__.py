"""One file per observer: what is measured during training and takes no part in it."""

from algorithms.base import Objective
from envs.base import Env
from training.config import TrainConfig
from training.observers.base import Observer, Observers
from training.observers.diagnostics import Diagnostics
from training.observers.held_out import HeldOutEvaluation
from training.observers.speed import UpdateSpeed
from training.observers.surplus import SurplusGain
from training.observers.task import TaskMetrics


def build_observers(env: Env, objective: Objective, sampler_name: str, cfg: TrainConfig) -> Observers:
    """The observers of a configuration, in the order in which they are called."""
    observers: list[Observer] = [TaskMetrics(env.spec.eval_at)]
    if env.spec.is_text:
        observers = [UpdateSpeed(), *observers, HeldOutEvaluation()]
    if cfg.diagnostics:
        observers.append(Diagnostics())
        if SurplusGain.is_defined(env, objective):
            observers.append(SurplusGain(env, objective, sampler_name))
    return Observers(observers)
