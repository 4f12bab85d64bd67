"""How long a sweep will take, said before it starts."""

import sys
import time
from collections.abc import Iterator
from contextlib import suppress

from hydra import compose
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from conf.resolve import ConfigError, Experiment, resolve
from conf.sweep import jobs
from store.runs import RunStore
from training.experiment import blocks, build


class Forecast(Callback):
    """Hydra calls it when a sweep starts; a job that is refused is reported when its turn comes."""

    def on_multirun_start(self, config: DictConfig, **kwargs) -> None:
        console = Console(width=None if sys.stdout.isatty() else 120, soft_wrap=True)
        try:
            asked = jobs(config.hydra.sweeper.params or {}, tuple(config.hydra.overrides.task))
        except (HydraException, OmegaConfBaseException):
            return  # Hydra finds the same mistake next, and reports it
        missing = [(exp, seeds) for exp in _experiments(asked) if (seeds := _missing(exp))]
        seconds = 0.0
        for experiment, seeds in missing:
            with suppress(Exception):  # a job that fails fails again in its turn, and is reported there
                seconds += predict(experiment, seeds)
        console.print(f"{len(asked)} jobs, {len(missing)} to train: at most about {duration(seconds)} on this machine")


def predict(experiment: Experiment, seeds: tuple[int, ...]) -> float:
    """Training seconds of these seeds at the speed of a second step; later ones have less to compute, never more."""
    block = blocks(experiment, seeds)[0]
    trainer = build(experiment, block)
    trainer._train_step()
    start = time.perf_counter()
    trainer._train_step()
    return (time.perf_counter() - start) * experiment.train.steps * len(seeds) / len(block)


def duration(seconds: float) -> str:
    """Seconds for a reader: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _experiments(asked: list[list[str]]) -> Iterator[Experiment]:
    for job in asked:
        try:
            yield resolve(compose("config", job))
        except (ConfigError, HydraException, OmegaConfBaseException):
            continue


def _missing(experiment: Experiment) -> tuple[int, ...]:
    done = () if experiment.force else RunStore(experiment.runs_dir).find(experiment.config).seeds_done()
    return tuple(seed for seed in experiment.seeds if seed not in done)
