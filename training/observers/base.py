"""Observers of training: they return metrics to record, and change nothing that training reads."""

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from training.rollout import Rollout

if TYPE_CHECKING:
    from training.loop import Trainer

Metrics = dict[str, Tensor]  # {name: (S,)}


class Observer:
    """Hooks that the training loop calls. Each returns metrics {name: (S,)} to record for the current step.

    every_step  true for an observer that is called at every step; the others are called at recorded steps only
    """

    every_step: ClassVar[bool] = False

    def on_start(self, trainer: "Trainer") -> Metrics:
        """Called before the first step."""
        return {}

    def on_rollout(self, trainer: "Trainer", rollout: Rollout) -> Metrics:
        """Called when the candidates are drawn and scored, before the first gradient."""
        return {}

    def on_first_gradient(
        self, trainer: "Trainer", rollout: Rollout, logp: Tensor, grad_norm: Tensor, objective_metrics: Metrics
    ) -> Metrics:
        """Called when the gradient of the first epoch is known, before the optimiser uses it.

        logp (S,B,K,T)     log-probs that the loss was computed from; with train.diagnostics=true, logp.grad holds the
                           gradient of the loss on them
        grad_norm (S,)     norm of the gradient on the parameters
        objective_metrics  metrics that the objective returned with its loss
        """
        return {}

    def on_step_end(self, trainer: "Trainer", rollout: Rollout) -> Metrics:
        """Called after the last epoch of a step."""
        return {}

    def state_dict(self) -> dict:
        """The state that a checkpoint keeps for a resumed run."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Go on from what `state_dict` gave; empty for a checkpoint that has nothing of this observer."""


class Observers(Observer):
    """Several observers as one: each hook calls them in order and merges their metrics."""

    def __init__(self, observers: list[Observer]):
        self.observers = observers

    def on_start(self, trainer: "Trainer") -> Metrics:
        return self._merged("on_start", trainer)

    def on_rollout(self, trainer: "Trainer", *args) -> Metrics:
        return self._merged("on_rollout", trainer, *args)

    def on_first_gradient(self, trainer: "Trainer", *args) -> Metrics:
        return self._merged("on_first_gradient", trainer, *args)

    def on_step_end(self, trainer: "Trainer", *args) -> Metrics:
        return self._merged("on_step_end", trainer, *args)

    def state_dict(self) -> dict:
        return {type(observer).__name__: observer.state_dict() for observer in self.observers}

    def load_state_dict(self, state: dict) -> None:
        for observer in self.observers:
            observer.load_state_dict(state.get(type(observer).__name__, {}))

    def _merged(self, hook: str, trainer: "Trainer", *args) -> Metrics:
        found: Metrics = {}
        for observer in self.observers:
            if observer.every_step or trainer.is_recorded_step:
                found |= getattr(observer, hook)(trainer, *args)
        return found
