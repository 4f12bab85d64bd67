"""The suite from Python: train, load, draw, and use an objective on tensors of your own.

    import suite

    frame = suite.train("algo=tpo,grpo", "env=sparse_bandit", "seeds=5")
    suite.figure("fig02")

Everything raises `suite.ConfigError`, with the text that the command line prints, for input that makes no sense.
"""

import itertools
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from algorithms.base import Batch, Objective, as_typed, require_finite, require_tensors, scored_completions
from analysis import catalogue
from analysis.labels import label, with_unique_labels
from analysis.load import Row, drawn_rows, finished_envs, stored_rows
from conf.discover import find_classes
from conf.messages import GRID, ConfigError, command, explain, unknown
from conf.process import tune_process
from conf.resolve import Experiment, resolve, settings_of
from conf.sweep import differing_keys, jobs
from conf.values import APPEARANCE, parse_section
from launch import requests
from launch.command_line import parsed, prepare, quoted
from store.archive import Archive
from store.results import Results
from store.runs import Run, RunStore
from training.experiment import execute

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Batch", "ConfigError", "TrainingError", "batch", "figure", "load", "objective", "train"]
SHIPPED = Path(__file__).resolve().parent / "results"


class TrainingError(RuntimeError):
    """A run failed; the message names the file with its traceback."""


def train(*overrides: str, verbose: bool = False) -> pd.DataFrame:
    """Train what `python run.py OVERRIDES` trains, and return the metrics of its runs as `load` does.

    Values with commas, and sweep files such as "paper=fig02", are a grid. What the store has is not trained again.
    Nothing is printed unless `verbose`. train.phase=sft stores a warm start, and adds no rows. Raises ConfigError
    before any work, and TrainingError for a run that fails.
    """
    tune_process()
    console = Console(file=sys.stdout, quiet=not verbose, emoji=False, markup=False)
    for override in overrides:
        if not isinstance(override, str):
            raise ConfigError(f"{override!r}: must be text, such as 'algo=tpo'; give each override by itself")
    asked = [override for override in overrides if override not in GRID]  # a grid needs no -m here
    if requests.is_asked(asked):
        typed = f"only the command line trains a plan or a suite: {command(asked)}"
        raise ConfigError(f"{' '.join(asked)}: {typed}; then suite.load() returns its metrics")
    seeds: dict[Run, tuple[int, ...]] = {}  # jobs that differ in their seeds share a run
    for experiment in _experiments(asked):
        outcome = execute(experiment, console)
        if outcome.status not in ("done", "skipped"):
            raise TrainingError(outcome.complaint)
        if outcome.run is None:  # a warm start
            continue
        seeds[outcome.run] = (*seeds.get(outcome.run, ()), *outcome.seeds)
    return _frame([Row(run.config(), label(run.config()), run, only) for run, only in seeds.items()])


def load(env: str | None = None, runs_dir: str | Path = "runs", results: str | Path = SHIPPED) -> pd.DataFrame:
    """The metrics of every finished seed of a runs folder and of an archive behind it, by default the shipped one.

    Columns: env, algo, label, run, seed, step, metric, value. `env` keeps the runs of one environment; ConfigError
    names the environments that have runs if it has none.
    """
    store = _store(runs_dir, results)
    rows = stored_rows(store, lambda config: env in (None, config["env"]["name"]))
    if env is not None and not rows:
        raise ConfigError(unknown(f"env={env}", finished_envs(store), f"no finished seeds in {store}"))
    return _frame(rows)


def figure(name: str, scale: str = "paper", runs_dir: str | Path = "runs", results: str | Path = SHIPPED) -> "Figure":
    """Draw a figure such as "fig02" from the runs that there are, as `python -m analysis NAME` does.

    Raises ConfigError for an unknown name, and with the command to run where it has no runs.
    """
    if name not in catalogue.figures():
        raise ConfigError(unknown(name, catalogue.figures(), "no such figure"))
    if scale not in ("paper", "quick"):
        raise ConfigError(unknown(f"scale={scale}", ("paper", "quick"), "unknown choice"))
    store = _store(runs_dir, results)
    asked = catalogue.rows(name, store, scale)
    rows = drawn_rows(name, asked, store)
    if not rows:
        raise ConfigError(f"{name}: no runs in {store}; run: {catalogue.figure_command(name, scale, store.root)}")
    module = catalogue.module(name)
    from matplotlib import pyplot

    from analysis.style import STYLE

    with pyplot.style.context(STYLE):
        drawn, _ = module.draw(rows)
    pyplot.close(drawn)  # whoever has it shows it
    return drawn


def objective(name: str, algo_path: str | None = None, **settings: object) -> Objective:
    """The objective that `algo=NAME` trains with, for example objective("tpo", eta=0.5).

    Its `loss(logp, batch)` takes log-probs (*L,B,K,T), finite also where the mask is 0, and a `batch`, and returns the
    loss (*L,) and metrics. ReMax needs the reward of the greedy answer as the batch's baseline, CE true rewards as its
    scores. Raises ConfigError for an unknown name or setting.
    """
    folder = [f"algo_path={quoted(str(algo_path))}"] if algo_path is not None else []
    found, _ = _configs(
        [f"algo={name}", *folder, *(f"algo.{key}={as_typed(value)}" for key, value in settings.items())]
    )
    if len(found) != 1:
        raise ConfigError(f"objective({name!r}): must be one algorithm with one value of each setting")
    (cfg,) = found
    return parse_section(cfg, "algo", find_classes("algo", algo_path), "objective", hidden=tuple(APPEARANCE))


def batch(
    logp_old: torch.Tensor,
    score: torch.Tensor,
    mask: torch.Tensor | None = None,
    baseline: torch.Tensor | float | None = None,
    logp_ref: torch.Tensor | None = None,
) -> Batch:
    """Scored samples as objectives take them: each candidate is one draw, and its score is the reward of its tokens.

    logp_old (*L,B,K,T): log-probs of the tokens under the policy that drew them, in nats; score (*L,B,K); mask and
    logp_ref (*L,B,K,T), the mask 1 where a token counts; baseline: a number, or the shape of the score with 1 for any
    of its sizes, such as (*L,B,1); None for the mean score of the batch. Raises ValueError if the shapes do not fit, or
    for a score that is not finite.
    """
    require_tensors(logp_old=logp_old, score=score)
    if logp_old.dim() < 3 or logp_old.shape[:-1] != score.shape:
        raise ValueError(f"score has shape {tuple(score.shape)}, logp_old {tuple(logp_old.shape)}: needs (*L,B,K,T)")
    require_finite(score)
    mask = torch.ones_like(logp_old) if mask is None else mask.to(logp_old.dtype)
    for name, tensor in {"mask": mask, "logp_ref": logp_ref}.items():
        if tensor is not None and tensor.shape != logp_old.shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, logp_old {tuple(logp_old.shape)}: must be equal")
    logp_ref = None if logp_ref is None else logp_ref.detach()
    found = scored_completions(logp_old.detach(), score.detach().to(logp_old.dtype), mask, logp_ref)
    if baseline is None:
        return found
    baseline = torch.as_tensor(baseline, dtype=logp_old.dtype, device=logp_old.device)
    if baseline.dim() and tuple(baseline.shape) not in itertools.product(*({1, n} for n in score.shape)):
        raise ValueError(f"baseline has shape {tuple(baseline.shape)}: must be a number or fit {tuple(score.shape)}")
    return replace(found, baseline=baseline.unsqueeze(-1) if baseline.dim() else baseline)  # the same for each token


def _experiments(overrides: list[str]) -> list[Experiment]:
    """The validated jobs of a command line; raises ConfigError."""
    try:
        configs, keys = _configs(overrides)
        return [replace(resolve(cfg), difference=settings_of(cfg, keys)) for cfg in configs]
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error, overrides)) from None


def _configs(overrides: list[str]) -> tuple[list[DictConfig], list[str]]:
    """One config for each job of a command line, and the keys in which jobs differ; raises ConfigError."""
    logging.getLogger("hydra").setLevel(logging.ERROR)
    try:
        overrides = prepare(overrides)
        with initialize_config_module("conf", version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            single = [override for override in overrides if not _is_axis(override)]
            params = compose("config", single, return_hydra_config=True).hydra.sweeper.params or {}
            asked = jobs(params, tuple(overrides), loader)
            return [compose("config", job) for job in asked], differing_keys(asked)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(explain(error, overrides)) from None


def _is_axis(override: str) -> bool:
    """Whether an override lists several values, which no single config can have."""
    found = parsed(override)
    return found is not None and found.is_sweep_override()


def _store(runs_dir: str | Path, results: str | Path) -> Results:
    for key, given in {"runs_dir": runs_dir, "results": results}.items():
        if not isinstance(given, str | Path):
            raise ConfigError(f"{key}={given}: must be the path of a folder")
    folders = {"runs_dir": Path(os.path.expanduser(runs_dir)), "results": Path(os.path.expanduser(results))}
    for key, folder in folders.items():
        if not folder.is_dir() and folder not in (Path("runs"), SHIPPED):  # which need not be there
            raise ConfigError(f"{key}={folder}: no such folder")
    return Results(RunStore(folders["runs_dir"]), Archive(folders["results"]))


def _frame(rows: Sequence[Row]) -> pd.DataFrame:
    """The metrics of rows in long form, with labels that tell the rows of an environment apart."""
    columns = ["env", "algo", "label", "run", "seed", "step", "metric", "value"]
    frames = []
    for env in dict.fromkeys(row.config["env"]["name"] for row in rows):
        for row in with_unique_labels([row for row in rows if row.config["env"]["name"] == env]):
            found = row.run.frame()
            found = found if row.only is None else found[found.seed.isin(row.only)]
            named = {"env": env, "algo": row.config["algo"]["name"], "label": row.label, "run": row.run.path.name}
            frames.append(found.assign(**named)[columns])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
