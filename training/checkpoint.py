"""Checkpoints of unfinished runs. Each run keeps its newest two, in case that the newest one is damaged."""

import errno
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from store.runs import Run, atomic_write
from training.loop import Trainer

log = logging.getLogger(__name__)
FORMAT = 2  # raise it with any change of the state below that an earlier commit would misread
SECONDS, SHARE = 60.0, 0.02


class Schedule:
    """Says when the next checkpoint is due: every `steps` steps, and also after a minute without one.

    Where saving is slow the minute grows, so that these extra checkpoints take at most 2 % of the time.
    """

    def __init__(self, steps: int):
        self.steps, self.saved, self.pause = steps, time.monotonic(), SECONDS

    def due(self, step: int) -> bool:
        return step % self.steps == 0 or time.monotonic() - self.saved > self.pause

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Time the checkpoint that is written within."""
        start = time.monotonic()
        yield
        self.saved = time.monotonic()
        self.pause = max(SECONDS, (self.saved - start) / SHARE)


def save(run: Run, trainer: Trainer, seconds: float, weights: str | None = None) -> None:
    """Write a checkpoint atomically and keep the one before.

    seconds  training time so far
    weights  digest of the folder that a language model was read from
    """
    state = {"format": FORMAT, "run": run.path.name, "seeds": list(trainer.noise.seeds), "weights": weights}
    state |= {"seconds": seconds, "trainer": trainer.state_dict()}
    newest, before = run.checkpoints
    if newest.exists():
        os.replace(newest, before)
    atomic_write(newest, lambda path: _write(state, path))


def _write(state: dict[str, Any], path: Path) -> None:
    try:
        torch.save(state, path)
    except RuntimeError as error:  # torch does not say what the system said
        raise OSError(errno.EIO, f"the checkpoint could not be written; is the disk full? ({error})") from error


def restore(run: Run, trainer: Trainer, weights: str | None = None) -> float:
    """Load the newest undamaged checkpoint of this run, these seeds and these first weights into the trainer.

    Returns the training seconds up to that checkpoint, or 0 if there is none.
    """
    for path, state in _undamaged(run, trainer.noise.device):
        if state["run"] != run.path.name:
            log.warning("skipped checkpoint %s: it is of another configuration, run %s", path, state["run"])
        elif state["weights"] not in (None, weights):
            log.warning("skipped checkpoint %s: the files of the model have changed since", path)
        elif state["seeds"] == list(trainer.noise.seeds):
            trainer.load_state_dict(state["trainer"])
            return state["seconds"]
        else:
            log.warning("skipped checkpoint %s: it is of seeds %s", path, state["seeds"])
    return 0.0


def seeds(run: Run) -> tuple[int, ...]:
    """The seeds of the newest undamaged checkpoint of this run; none where there is no checkpoint."""
    states = (state for _, state in _undamaged(run, torch.device("cpu"), mmap=True))
    return next((tuple(state["seeds"]) for state in states if state["run"] == run.path.name), ())


def _undamaged(run: Run, device: torch.device, mmap: bool = False) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Path and state of each undamaged checkpoint, the newest first."""
    for path in run.checkpoints:
        state = _read(path, device, mmap) if path.exists() else None
        if state is not None:
            yield path, state


def _read(path: Path, device: torch.device, mmap: bool) -> dict[str, Any] | None:
    try:
        state = torch.load(path, map_location=device, weights_only=True, mmap=mmap)
        if state.get("format") != FORMAT:
            log.warning("skipped checkpoint %s: it was written by another version of this suite", path)
            return None
        return {key: state[key] for key in ("run", "seeds", "seconds", "trainer")} | {"weights": state.get("weights")}
    except Exception as error:  # torch raises many kinds on a damaged file
        log.warning("skipped damaged checkpoint %s (%s)", path, type(error).__name__)
        return None
