"""The newest state of an unfinished run."""

import logging
from pathlib import Path

import torch

from store.runs import atomic_write
from training.loop import Trainer

log = logging.getLogger(__name__)


def save(path: Path, trainer: Trainer) -> None:
    """Replace the checkpoint at `path` atomically."""
    state = {"seeds": list(trainer.noise.seeds), "trainer": trainer.state_dict()}
    atomic_write(path, lambda p: torch.save(state, p))


def restore(path: Path, trainer: Trainer) -> bool:
    """Continue from the checkpoint at `path` if it holds exactly the trainer's seeds; says why not if it is damaged."""
    if not path.exists():
        return False
    try:
        state = torch.load(path, map_location=trainer.noise.device, weights_only=True)
        if state["seeds"] != list(trainer.noise.seeds):
            return False
        trainer.load_state_dict(state["trainer"])
    except Exception as error:  # torch raises many kinds on a damaged file
        log.warning("skipped damaged checkpoint %s (%s); starting over", path, type(error).__name__)
        return False
    return True
