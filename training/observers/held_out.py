"""Evaluations of a language model on held-out problems, at their own interval."""

from training.evaluation import evaluate
from training.observers.base import Metrics, Observer
from training.rollout import Rollout


class HeldOutEvaluation(Observer):
    """Evaluates before the first step, every train.eval_every steps, and after the last step.

    A few of the completions are appended to `trainer.samples`.
    """

    every_step = True

    def on_start(self, trainer) -> Metrics:
        return self._evaluate(trainer)

    def on_step_end(self, trainer, rollout: Rollout) -> Metrics:
        cfg = trainer.cfg
        due = trainer.step == cfg.steps or (cfg.eval_every is not None and trainer.step % cfg.eval_every == 0)
        return self._evaluate(trainer) if due else {}

    def _evaluate(self, trainer) -> Metrics:
        cfg, noise = trainer.cfg, trainer.noise.at_step(trainer.step)
        metrics, samples = evaluate(trainer.env, trainer.policy, noise, cfg.eval_split, cfg.eval_problems)
        trainer.samples += [{"seed": noise.seeds[0], "step": trainer.step} | sample for sample in samples]
        return metrics
