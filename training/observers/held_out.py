"""Evaluations of a language model on held-out problems, at their own interval."""

import time

import torch

from training.evaluation import Evaluation, evaluate
from training.observers.base import Metrics, Observer
from training.rollout import Rollout

before_training: dict[tuple, tuple[Evaluation, float]] = {}  # evaluations, and the seconds that they took


class HeldOutEvaluation(Observer):
    """Evaluates before the first step, every train.eval_every steps, and after the last step.

    Beside the metrics of `evaluate` it records <split>_newly_solved: of the problems that no sampled answer solved in
    the first evaluation, the share that one solves now. A few of the completions are appended to `trainer.samples`.

    The first evaluation depends on model, task and seed alone, so the runs of one process share it.
    """

    every_step = True

    def __init__(self):
        self.unsolved_at_first: torch.Tensor | None = None

    def on_start(self, trainer) -> Metrics:
        origin, cfg, noise = trainer.policy.origin, trainer.cfg, trainer.noise
        if origin is None:
            return self._recorded(trainer, *_evaluate(trainer))
        asked = cfg.eval_split, cfg.eval_problems, cfg.eval_samples
        # settings of a user's own task need not be hashable
        key = type(trainer.env), repr((origin, trainer.env, noise.seeds, noise.device, *asked))
        if key not in before_training:
            before_training[key] = _evaluate(trainer)
        return self._recorded(trainer, *before_training[key])

    def on_step_end(self, trainer, rollout: Rollout) -> Metrics:
        return self._recorded(trainer, *_evaluate(trainer)) if trainer.cfg.evaluates_at(trainer.step) else {}

    def _recorded(self, trainer, found: Evaluation, seconds: float) -> Metrics:
        seed = trainer.noise.seeds[0]
        trainer.samples += [{"seed": seed, "step": trainer.step} | sample for sample in found.samples]
        trainer.evaluation_seconds = seconds
        return found.metrics | self._newly_solved(found.right, trainer)

    def _newly_solved(self, right: list[int], trainer) -> Metrics:
        solved = torch.tensor(right) > 0
        if trainer.step == 0:
            self.unsolved_at_first = ~solved
        if trainer.step == 0 or self.unsolved_at_first is None or not self.unsolved_at_first.any():
            return {}
        share = solved[self.unsolved_at_first].float().mean()
        return {f"{trainer.cfg.eval_split}_newly_solved": share.view(1).to(trainer.noise.device)}

    def state_dict(self) -> dict:
        return {} if self.unsolved_at_first is None else {"unsolved_at_first": self.unsolved_at_first}

    def load_state_dict(self, state: dict) -> None:
        found = state.get("unsolved_at_first")
        self.unsolved_at_first = None if found is None else found.cpu()


def _evaluate(trainer) -> tuple[Evaluation, float]:
    """An evaluation of the policy as it is now, and the seconds that it took."""
    start, cfg, noise = time.monotonic(), trainer.cfg, trainer.noise.at_step(trainer.step)
    found = evaluate(trainer.env, trainer.policy, noise, cfg.eval_split, cfg.eval_problems, n=cfg.eval_samples)
    seconds = time.monotonic() - start
    trainer.evaluating += seconds
    return found, seconds
