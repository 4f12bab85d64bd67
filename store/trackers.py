"""Mirrors of a run's metrics: never the source of truth."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Logger = Callable[[Any], None]  # takes the training history after every step


@dataclass(frozen=True)
class NoTracker:
    """Mirrors nothing."""

    name = "none"

    @contextmanager
    def open(self, config: dict[str, Any], folder: Path) -> Iterator[Logger]:
        yield lambda history: None


@dataclass(frozen=True)
class Wandb:
    """Mirrors seed means to Weights & Biases as they come; WANDB_MODE=offline keeps them in the run's folder."""

    name = "wandb"

    project: str = "tpo"
    entity: str | None = None

    @contextmanager
    def open(self, config: dict[str, Any], folder: Path) -> Iterator[Logger]:
        import wandb

        name = f"{config['env']['name']}/{config['algo']['name']}"
        shown = -1
        with wandb.init(project=self.project, entity=self.entity, name=name, config=config, dir=folder) as run:

            def mirror(history) -> None:
                nonlocal shown
                for step, metrics in history.records_after(shown):
                    run.log({name: value.nanmean().item() for name, value in metrics.items()}, step=step)
                    shown = step

            yield mirror


TRACKERS = {tracker.name: tracker for tracker in (NoTracker, Wandb)}
