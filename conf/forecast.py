"""How long a sweep will take, said before it starts."""

import sys
import time
from collections.abc import Iterator

from hydra import compose, initialize_config_module
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from conf.resolve import ConfigError, Experiment, resolve
from conf.sweep import jobs
from store.runs import RunStore
from training.experiment import blocks, build


class Forecast(Callback):
    """Hydra calls it when a sweep starts; a job that is refused is reported when its turn comes."""

    def on_multirun_start(self, config: DictConfig, **kwargs) -> None:
        console = Console(width=None if sys.stdout.isatty() else 120, soft_wrap=True)
        asked = jobs(config.hydra.sweeper.params or {}, tuple(config.hydra.overrides.task))
        missing = [(exp, seeds) for exp in _experiments(asked) if (seeds := _missing(exp))]
        seconds = sum(predict(exp, seeds) for exp, seeds in missing)
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
    with initialize_config_module("conf", version_base="1.3"):
        for job in asked:
            try:
                yield resolve(compose("config", job))
            except ConfigError:
                continue


def _missing(experiment: Experiment) -> tuple[int, ...]:
    done = () if experiment.force else RunStore(experiment.runs_dir).find(experiment.config).seeds_done()
    return tuple(seed for seed in experiment.seeds if seed not in done)
