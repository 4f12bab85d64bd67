"""Which runs a figure shows: the rows of its sweep files, found in the store, and what else was run beside them."""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from analysis import stats
from analysis.labels import ALGOS, changed_settings, label, with_unique_labels
from conf.sweep import jobs
from store.identity import CHOICES, SECTIONS, identity, run_id
from store.results import ReadableRun, Results
from store.runs import RunStore

Store = RunStore | Results
SWEEPS = Path(__file__).resolve().parent.parent / "sweeps"


@dataclass(frozen=True)
class Row:
    """One configuration of one algorithm, how it looks, and its metrics."""

    config: dict[str, Any]
    label: str
    run: ReadableRun
    only: tuple[int, ...] | None = None  # the seeds to show; None: all
    overrides: tuple[str, ...] = ()  # from which Hydra composes it

    @property
    def command(self) -> str:
        """What computes the row."""
        return " ".join(["python run.py", *self.overrides])

    @property
    def style(self) -> dict[str, Any]:
        algo = self.config["algo"]
        return {"color": algo["color"], "linestyle": algo["linestyle"], "label": self.label}

    @cached_property
    def _frame(self):
        frame = self.run.frame()
        return frame if self.only is None else frame[frame.seed.isin(self.only)]

    @property
    def seeds(self) -> int:
        return self._frame.seed.nunique()

    def has(self, name: str) -> bool:
        return name in set(self._frame.metric)

    def errors(self) -> tuple[np.ndarray, np.ndarray]:
        """`metric` of the error, 1 from where a seed turned non-finite."""
        steps, values = self.metric("error")
        return steps, np.nan_to_num(values, nan=1.0)

    def finite(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """`metric` without the seeds that turned non-finite."""
        steps, values = self.metric(name)
        return steps, values[:, np.isfinite(values).all(axis=0)]

    def late(self, name: str) -> dict[int, float]:
        """`stats.late` of each seed."""
        wide = self._wide(name)
        return dict(zip(wide.columns, stats.late(wide.to_numpy()), strict=True))

    def metric(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Recorded steps (n,) and values (n, seeds)."""
        wide = self._wide(name)
        return wide.index.to_numpy(), wide.to_numpy()

    def _wide(self, name: str):
        """Steps (rows) by seeds (columns)."""
        return self._frame[self._frame.metric == name].pivot(index="step", columns="seed", values="value")


def choice(name: str, scale: str) -> list[str]:
    """What `python run.py` takes to run sweeps/<group>/<name>.yaml at a scale."""
    (path,) = SWEEPS.glob(f"*/{name}.yaml")
    return [f"{path.parent.name}={name}"] + [f"scale={scale}"] * (scale != "paper")


def sweep_rows(name: str, store: Store, scale: str = "paper", overrides: tuple[str, ...] = ()) -> list[Row]:
    """The rows that a sweep file asks for at a scale, whether or not the store has them.

    Each of `overrides` replaces an axis of the file's grid or adds one, as it does in `python run.py paper=NAME`.
    """
    chosen = tuple(choice(name, scale))
    file = _composition(chosen)
    asked = jobs(file.hydra.sweeper.params, overrides)
    # composing is slow, so the algorithms of a sweep share what is not theirs
    bases = {groups: _composition((*chosen, *groups)) for groups in {_groups(job) for job in asked}}
    shared = {settings: _composed(bases[_groups(settings)], settings) for settings in {_shared(job) for job in asked}}
    seeds = tuple(range(file.seeds)) if isinstance(file.seeds, int) else tuple(file.seeds)
    configs = [shared[_shared(job)] | {"algo": _algo(job)} for job in asked]
    return [_row(config, store, seeds, (*chosen, *job)) for config, job in zip(configs, asked, strict=True)]


@cache
def _composition(overrides: tuple[str, ...]) -> DictConfig:
    with initialize_config_module("conf", version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True)


def beside(rows: list[Row], store: Store) -> list[Row]:
    """Stored runs on the same tasks as `rows` that no sweep file asks for: other algorithms, other settings."""
    known, tasks = {run_id(row.config) for row in rows}, [_task(row.config) for row in rows]

    def belongs(config: dict[str, Any]) -> bool:
        return _task(config) in tasks and run_id(config) not in known and not _asked_for(config)

    return stored_rows(store, belongs)


def shorter(rows: list[Row], store: Store) -> list[Row]:
    """Stored runs of fewer steps of what `rows` lack, else the same; those with the most seeds come first."""
    lacking = {_but_steps(row.config): row for row in rows if not row.seeds}

    def belongs(config: dict[str, Any]) -> bool:
        wanted = lacking.get(_but_steps(config))
        return wanted is not None and config["train"]["steps"] < wanted.config["train"]["steps"]

    found = stored_rows(store, belongs) if lacking else []
    found = [replace(row, only=lacking[_but_steps(row.config)].only) for row in found]
    return sorted(found, key=lambda row: -row.seeds)


def stored_rows(store: Store, chosen: Callable[[dict[str, Any]], bool] = lambda config: True) -> list[Row]:
    """Every run that the store has with a finished seed and a `chosen` config."""
    found = ((run, run.config()) for run in store.runs())
    return [Row(config, label(config), run) for run, config in found if chosen(config) and run.seeds_done()]


def environment_rows(env: str, store: Store) -> list[Row]:
    """Every run that the store has of an environment, each with a label of its own."""
    return with_unique_labels(stored_rows(store, lambda config: config["env"]["name"] == env))


def _shared(job: Sequence[str]) -> tuple[str, ...]:
    """What a job sets beside its algorithm."""
    return tuple(override for override in job if not override.startswith(("algo=", "algo.")))


def _groups(settings: Sequence[str]) -> tuple[str, ...]:
    """The files among them."""
    return tuple(override for override in settings if override.split("=")[0] in ("env", "model", "optim"))


def _composed(base: DictConfig, settings: tuple[str, ...]) -> dict[str, Any]:
    cfg = copy.deepcopy(base)
    cfg.merge_with_dotlist([override for override in settings if override not in _groups(settings)])
    return _plain(cfg)


def _algo(job: list[str]) -> dict[str, Any]:
    """The algorithm of a job with what the job changes in it."""
    given = OmegaConf.from_dotlist([override for override in job if override.startswith("algo.")]).get("algo", {})
    return _algo_file(dict(override.split("=") for override in job)["algo"]) | dict(given)


@cache
def _algo_file(name: str) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(ALGOS / f"{name}.yaml"))


def _row(config: dict[str, Any], store: Store, seeds: tuple[int, ...], overrides: tuple[str, ...]) -> Row:
    """A row with the look of today's yaml, and of its stored run what only the objective's class knows."""
    run = store.find(config)
    return Row(config | {"compares": run.config().get("compares")}, label(config), run, seeds, overrides)


def _asked_for(config: dict[str, Any]) -> bool:
    """Whether the paper has a sweep that runs this algorithm here, and changes all that is changed here."""
    name, env, settings = config["algo"]["name"], config["env"]["name"], changed_settings(config).keys()
    return any(name in algos and env in tasks and settings <= keys for tasks, algos, keys in _sweeps())


@cache
def _sweeps() -> list[tuple[list[str], list[str], set[str]]]:
    """Environments, algorithms and changed settings of every sweep file of the paper."""
    files = [OmegaConf.to_container(OmegaConf.load(path)) for path in sorted(SWEEPS.glob("paper/*.yaml"))]
    axes = [file["hydra"]["sweeper"]["params"] for file in files]
    return [(_tasks(file), a["algo"].split(","), {*a, *file}) for a, file in zip(axes, files, strict=True)]


def _tasks(file: dict[str, Any]) -> list[str]:
    """The environments of a sweep file: one for all of it, or an axis with others at each scale."""
    if "env" not in file["hydra"]["sweeper"]["params"]:
        return [file["defaults"][0]["override /env"]]
    return [env for scale in ("paper", "quick") for env in file["scales"][scale]["envs"].split(",")]


def _plain(cfg) -> dict[str, Any]:
    sections = {section: OmegaConf.to_container(cfg[section], resolve=True) for section in SECTIONS}
    return sections | {choice: cfg[choice] for choice in CHOICES}


def _but_steps(config: dict[str, Any]) -> str:
    settings = identity(config)
    return json.dumps(settings | {"train": {**settings["train"], "steps": None}}, sort_keys=True)


def _task(config: dict[str, Any]) -> dict[str, Any]:
    return {section: value for section, value in identity(config).items() if section not in ("algo", *CHOICES)}
