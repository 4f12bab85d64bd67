"""Which runs a figure shows: the rows of its sweep files, found in the store, and what else was run beside them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from analysis import stats
from analysis.cache import Cache
from analysis.compose import SWEEPS, Job, sweep_jobs
from analysis.labels import changed_settings, label, with_unique_labels
from analysis.paper import counts_shorter_runs
from analysis.series import Series
from conf.messages import command
from store.identity import CHOICES, identity_without, run_id
from store.results import ReadableRun, Results
from store.runs import RunStore

Store = RunStore | Results


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
        """The command that computes the row."""
        return command(self.overrides)

    @property
    def style(self) -> dict[str, Any]:
        algo = self.config["algo"]
        return {"color": algo["color"], "linestyle": algo["linestyle"], "label": self.label}

    @cached_property
    def _series(self) -> Series:
        return Series.of(self.run.table(), self.only)

    @cached_property
    def content(self) -> list[Any]:
        """All that a picture of the row depends on, as JSON."""
        return [self.config, self.label, self.only, self._series.digest()]

    @property
    def seeds(self) -> int:
        return len(self.seed_numbers)

    @property
    def seed_numbers(self) -> list[int]:
        """The seeds, in order."""
        return np.unique(self._series.seed).tolist()

    def non_finite(self, name: str = "error") -> int:
        """The number of seeds of which a metric turned non-finite; 0 where it was not recorded."""
        return int((~np.isfinite(self.metric(name)[1]).all(axis=0)).sum()) if self.has(name) else 0

    @property
    def metrics(self) -> list[str]:
        """The names of what was recorded."""
        return self._series.names

    def has(self, name: str) -> bool:
        return name in self.metrics

    @property
    def seconds(self) -> float:
        """Time to train the seeds, each as it was trained last."""
        batches = self.run.manifest().get("batches", [])
        last = {seed: batch["seconds"] / len(batch["seeds"]) for batch in batches for seed in batch["seeds"]}
        return sum(last.get(seed, 0.0) for seed in self.seed_numbers)

    @property
    def seconds_per_seed(self) -> float:
        return self.seconds / max(1, self.seeds)

    def errors(self) -> tuple[np.ndarray, np.ndarray]:
        """`metric` of the error as `stats.filled_errors` has it."""
        steps, values = self.metric("error")
        return steps, stats.filled_errors(values)

    def finite(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """`metric` without the seeds that turned non-finite."""
        steps, values = self.metric(name)
        return steps, values[:, np.isfinite(values).all(axis=0)]

    def late_errors(self) -> np.ndarray:
        """`stats.late` of the error (seeds,)."""
        return stats.late(self.metric("error")[1])

    def late(self, name: str) -> dict[int, float]:
        """`stats.late` of each seed."""
        _, seeds, values = self._series.wide(name)
        return dict(zip(seeds, stats.late(values), strict=True))

    def metric(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Recorded steps (n,) and values (n, seeds)."""
        steps, _, values = self._series.wide(name)
        return steps, values


def sweep_rows(name: str, store: Store, scale: str = "paper", overrides: tuple[str, ...] = ()) -> list[Row]:
    """The rows that a sweep file asks for at a scale, whether or not the store has them.

    Each of `overrides` replaces an axis of the file's grid or adds one, as it does in `python run.py paper=NAME`.
    """
    return [_row(job, store) for job in sweep_jobs(name, scale, overrides, cache_of(store))]


def cache_of(store: Store) -> Cache:
    """The cache of what was composed and drawn before; it lies beside the runs."""
    return Cache(store.root / ".cache")


def drawn_rows(figure: str, asked: list[Row], store: Store) -> list[Row]:
    """The rows that a figure shows: those it asks for that have a seed, shorter ones, and others on the same tasks."""
    return run_rows(figure, asked, store) + other_runs_on_their_tasks(asked, store)


def run_rows(figure: str, asked: list[Row], store: Store) -> list[Row]:
    """The rows that a figure asks for and that have a seed, and the shorter runs that its tables count."""
    return [row for row in asked if row.seeds] + shorter_rows(figure, asked, store)


def shorter_rows(figure: str, asked: list[Row], store: Store) -> list[Row]:
    """The `shorter` runs of a figure whose tables count them."""
    return shorter(asked, store) if counts_shorter_runs(figure) else []


def other_runs_on_their_tasks(rows: list[Row], store: Store) -> list[Row]:
    """Stored runs on the same tasks as `rows` that no sweep file asks for: other algorithms, other settings."""
    known, tasks = {run_id(row.config) for row in rows}, {_task(row.config) for row in rows}
    envs = {row.config["env"]["name"] for row in rows}

    def belongs(config: dict[str, Any]) -> bool:
        likely = config["env"]["name"] in envs  # quick to tell
        return likely and _task(config) in tasks and run_id(config) not in known and not _is_in_a_paper_sweep(config)

    return stored_rows(store, belongs)


def shorter(rows: list[Row], store: Store) -> list[Row]:
    """Stored runs with the settings of those `rows` that have no seed, but fewer steps; the most seeds come first."""
    lacking = {identity_without(row.config, "train.steps"): row for row in rows if not row.seeds}
    envs = {row.config["env"]["name"] for row in lacking.values()}

    def belongs(config: dict[str, Any]) -> bool:
        wanted = lacking.get(identity_without(config, "train.steps")) if config["env"]["name"] in envs else None
        return wanted is not None and config["train"]["steps"] < wanted.config["train"]["steps"]

    found = stored_rows(store, belongs) if lacking else []
    wanted = [(row, lacking[identity_without(row.config, "train.steps")]) for row in found]
    found = [
        replace(row, only=long.only, overrides=(*long.overrides, f"train.steps={row.config['train']['steps']}"))
        for row, long in wanted
    ]
    return sorted((row for row in found if row.seeds), key=lambda row: -row.seeds)


def stored_rows(store: Store, chosen: Callable[[dict[str, Any]], bool] = lambda config: True) -> list[Row]:
    """Every run that the store has with a finished seed and a `chosen` config."""
    found = ((run, run.config()) for run in store.runs())
    rows = [Row(config, label(config), run) for run, config in found if chosen(config)]
    return [row for row in rows if row.seeds]


def environment_rows(env: str, store: Store) -> list[Row]:
    """Every run that the store has of an environment, each with a label of its own."""
    return with_unique_labels(stored_rows(store, lambda config: config["env"]["name"] == env), mixed=True)


def finished_envs(store: Store) -> list[str]:
    """The environments of which the store has a finished seed."""
    return sorted({run.config()["env"]["name"] for run in store.runs() if run.manifest().get("seeds_done")})


def _row(job: Job, store: Store) -> Row:
    """A row with the look of today's yaml, and of its stored run what only the objective's class knows."""
    run = store.find(job.config)
    config = job.config | {"compares": run.config().get("compares")}
    return Row(config, label(config), run, job.seeds, job.overrides)


def _is_in_a_paper_sweep(config: dict[str, Any]) -> bool:
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


def _task(config: dict[str, Any]) -> str:
    return identity_without(config, "algo", *CHOICES)
