"""One job, in whichever process it runs: from a composed config to its outcome."""

import dataclasses
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conf.fit import MisfitError
from conf.messages import ConfigError, explain
from conf.resolve import Experiment, job_label, resolve, settings_of
from conf.screen import Screen
from conf.sweep import differing_keys
from launch import failures
from launch.kinds import lower_priority
from store.failure import describe
from training.experiment import Outcome, execute

GRID_KEYS = "TPO_SUITE_GRID_KEYS"  # the environment variable in which workers find the keys of their grid
outcomes: list[Outcome] = []  # of the command that this process runs


def screen(bars: bool = True) -> Screen:
    """Where a command prints; processes that share a terminal cannot all have `bars`, so they print plain lines."""
    width, terminal = None if sys.stdout.isatty() else 120, None if bars else False
    return Screen(width=width, force_terminal=terminal, emoji=False, markup=False)  # [labels] are no markup


def resolve_or_refuse(cfg: DictConfig) -> Experiment | Outcome:
    """The experiment of a config, or the outcome that refused it."""
    try:
        return dataclasses.replace(resolve(cfg), difference=difference(cfg))
    except (ConfigError, OmegaConfBaseException) as error:
        status = "unfit" if isinstance(error, MisfitError) else "refused"
        name = OmegaConf.select(cfg, "algo.name") or "?"
        algo, env = OmegaConf.select(cfg, "algo.label") or name, OmegaConf.select(cfg, "env.name") or "?"
        return Outcome(job_label(algo, env, difference(cfg)), status, message=explain(error, sys.argv[1:]))


@contextmanager
def grid_of(asked: list[list[str]]) -> Iterator[None]:
    """Let this process, and workers that are started in it, know by which keys jobs are told apart."""
    os.environ[GRID_KEYS] = ",".join(differing_keys(asked))
    try:
        yield
    finally:
        del os.environ[GRID_KEYS]


def difference(cfg: DictConfig) -> str:
    """The settings in which a job differs from the other jobs of its grid."""
    return settings_of(cfg, filter(None, os.environ.get(GRID_KEYS, "").split(",")))


def sweep_file() -> str | None:
    """The sweep file of the command that this job belongs to."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return choices.get("paper") or choices.get("studies")


def train(cfg: DictConfig) -> Outcome:
    """Train what a config asks for; the outcome is returned, and kept for the end of the command."""
    found = resolve_or_refuse(cfg)
    outcome = found if isinstance(found, Outcome) else _train(found, cfg.launch)
    outcomes.append(outcome)
    return outcome


def _train(experiment: Experiment, launch: DictConfig) -> Outcome:
    if place := failures.common_place():
        return Outcome(experiment.label, "stopped", place=place)
    lower_priority(launch.get("nice", 0))
    experiment = dataclasses.replace(experiment, sweep=sweep_file())
    try:
        outcome = execute(experiment, screen(bars=launch.name == "serial"))
        failures.record(outcome)
        return outcome
    except OSError as error:  # not of the training, which is reported: of the folder of runs
        return Outcome(experiment.label, "failed", message=describe(error))
