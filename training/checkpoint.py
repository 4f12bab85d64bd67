"""The newest state of an unfinished run."""

import logging
from pathlib import Path

import torch

from store.runs import atomic_write
from training.loop import Trainer

log = logging.getLogger(__name__)


def save(path: Path, trainer: Trainer, seconds: float) -> None:
    """Replace the checkpoint at `path` atomically; `seconds` is the training time so far."""
    state = {"seeds": list(trainer.noise.seeds), "seconds": seconds, "trainer": trainer.state_dict()}
    atomic_write(path, lambda p: torch.save(state, p))


def restore(path: Path, trainer: Trainer) -> float:
    """Load the checkpoint at `path` if it holds exactly the trainer's seeds; the training seconds it took, or 0."""
    if not path.exists():
        return 0.0
    try:
        state = torch.load(path, map_location=trainer.noise.device, weights_only=True)
        if state["seeds"] != list(trainer.noise.seeds):
            return 0.0
        trainer.load_state_dict(state["trainer"])
        return state["seconds"]
    except Exception as error:  # torch raises many kinds on a damaged file
        log.warning("skipped damaged checkpoint %s (%s); starting over", path, type(error).__name__)
        return 0.0
