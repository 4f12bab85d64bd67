"""The speed of the update of a language model."""

import time

import torch

from training.observers.base import Metrics, Observer
from training.rollout import Rollout


class UpdateSpeed(Observer):
    """Records update_tokens_per_second: drawn tokens times epochs, over the time of the update.

    Tokens of groups without a gradient count, although they are skipped.
    """

    def on_rollout(self, trainer, rollout: Rollout) -> Metrics:
        self.start = time.monotonic()
        return {}

    def on_step_end(self, trainer, rollout: Rollout) -> Metrics:
        if trainer.alive.device.type == "cuda":
            torch.cuda.synchronize()
        speed = trainer.epochs * rollout.token_count / (time.monotonic() - self.start)
        return {"update_tokens_per_second": torch.full(trainer.alive.shape, speed, device=trainer.alive.device)}
