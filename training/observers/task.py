"""The metrics that the task itself computes."""

from training.checks import check_error, check_has_error, check_metrics, check_names
from training.observers.base import Metrics, Observer
from training.rollout import Rollout


class TaskMetrics(Observer):
    """Records the metrics of the rollout, of the environment and of the objective.

    Raises ContractError for a task without error, and for a metric of the objective with the name of one of the task.

    eval_at  when the environment evaluates the policy: "rollout" or "update" (`envs.base.Spec`)
    """

    def __init__(self, eval_at: str):
        self.eval_at = eval_at
        self.of_task: set[str] = set()
        self.of_objective: set[str] = set()

    def on_rollout(self, trainer, rollout: Rollout) -> Metrics:
        found = rollout.metrics | (self._evaluate(trainer) if self.eval_at == "rollout" else {})
        return self._of_task(found, trainer)

    def on_first_gradient(self, trainer, rollout, logp, grad_norm, objective_metrics) -> Metrics:
        found = trainer.env.gradient_metrics(trainer.policy)
        check_metrics(found, trainer.env, "gradient_metrics", len(trainer.alive))
        self.of_task |= found.keys()
        self.of_objective |= objective_metrics.keys()
        check_names(self.of_objective, self.of_task, trainer.objective)
        return found | objective_metrics

    def on_step_end(self, trainer, rollout: Rollout) -> Metrics:
        found = self._of_task(self._evaluate(trainer) if self.eval_at == "update" else {}, trainer)
        check_has_error(self.of_task, trainer.env)
        check_names(self.of_objective, self.of_task, trainer.objective)
        return found

    def _of_task(self, found: Metrics, trainer) -> Metrics:
        """`found`, whose names are noted as the task's; the first error has to be within its range."""
        self.of_task |= found.keys()
        if trainer.step == 1 and "error" in found:
            check_error(found["error"], trainer.env)
        return found

    def _evaluate(self, trainer) -> Metrics:
        found = trainer.env.evaluate(trainer.policy, trainer.noise.at_step(trainer.step))
        return check_metrics(found, trainer.env, "evaluate", len(trainer.alive))
