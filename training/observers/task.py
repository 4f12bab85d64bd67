"""The metrics that the task itself computes."""

from training.observers.base import Metrics, Observer
from training.rollout import Rollout


class TaskMetrics(Observer):
    """Records the metrics of the rollout, of the environment and of the objective.

    eval_at  when the environment evaluates the policy: "rollout" or "update" (`envs.base.Spec`)
    """

    def __init__(self, eval_at: str):
        self.eval_at = eval_at

    def on_rollout(self, trainer, rollout: Rollout) -> Metrics:
        return rollout.metrics | (self._evaluate(trainer) if self.eval_at == "rollout" else {})

    def on_first_gradient(self, trainer, rollout, logp, grad_norm, objective_metrics) -> Metrics:
        return trainer.env.gradient_metrics(trainer.policy) | objective_metrics

    def on_step_end(self, trainer, rollout: Rollout) -> Metrics:
        return self._evaluate(trainer) if self.eval_at == "update" else {}

    def _evaluate(self, trainer) -> Metrics:
        return trainer.env.evaluate(trainer.policy, trainer.noise.at_step(trainer.step))
