"""Loggers that copy the metrics of a run to other services. The store alone is read again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Logger = Callable[[Any], None]  # called with the training history after every step


@dataclass(frozen=True)
class NoTracker:
    """Logs nothing."""

    name = "none"

    @contextmanager
    def open(self, config: dict[str, Any], folder: Path) -> Iterator[Logger]:
        yield lambda history: None


@dataclass(frozen=True)
class Wandb:
    """Logs means over seeds to Weights & Biases during training. WANDB_MODE=offline writes them to the run's folder."""

    name = "wandb"

    project: str = "tpo"
    entity: str | None = None

    @contextmanager
    def open(self, config: dict[str, Any], folder: Path) -> Iterator[Logger]:
        import wandb

        name = f"{config['env']['name']}/{config['algo']['name']}"
        shown = -1
        with wandb.init(project=self.project, entity=self.entity, name=name, config=config, dir=folder) as run:

            def log(history) -> None:
                nonlocal shown
                for step, metrics in history.records_after(shown):
                    run.log({name: value.nanmean().item() for name, value in metrics.items()}, step=step)
                    shown = step

            yield log


TRACKERS = {tracker.name: tracker for tracker in (NoTracker, Wandb)}
