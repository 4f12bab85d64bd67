"""The cells of a suite: what the store holds of each method, on each task, in each track."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis import stats, suite_rows
from analysis.labels import label, method_names
from analysis.load import Row, Store
from analysis.suites import DEFAULT, Protocol, Setting, Suite, Task
from store.identity import identity, identity_without

HIDDEN = ("match", "train.epochs")  # the protocol and the track decide them


@dataclass(frozen=True)
class Cell:
    """A method on a task in a track, with its reported seeds; `setting` is what the track trained it with."""

    method: str
    track: str
    task: Task
    row: Row
    setting: Setting

    def late(self) -> np.ndarray:
        """Scores (seeds,) of the mean error over the last tenth of training."""
        return self._scores(self.late_error())

    def area(self) -> np.ndarray:
        """Scores (seeds,) of the mean error over all of training, which is speed."""
        return self._scores(self._mean_error(lambda errors: errors.mean(axis=0)))

    def late_error(self) -> np.ndarray:
        """Mean error (seeds,) over the last tenth of training, that of chance for a seed that turned non-finite."""
        return self._mean_error(stats.late)

    def _mean_error(self, mean: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        _, errors = self.row.metric(self.task.metric)
        return np.where(np.isfinite(errors).all(axis=0), mean(errors), self.task.chance)

    def _scores(self, errors: np.ndarray) -> np.ndarray:
        return (self.task.chance - errors) / (self.task.chance - self.task.best)

    @property
    def non_finite(self) -> int:
        """Number of seeds that turned non-finite."""
        return self.row.non_finite(self.task.metric)

    @property
    def gradient_steps(self) -> int:
        """Gradient steps of one seed."""
        config = self.row.config
        return config["train"]["steps"] * config.get("gradient_epochs", 1)


def cells(suite: Suite, store: Store) -> list[Cell]:
    """All cells of which the store has a reported seed."""
    found = []
    for method, tasks in _grids(suite, store).items():
        for task in suite.tasks:
            grid = tasks.get(task.name, {})
            chosen = {"default": DEFAULT, "tuned": suite_rows.choose(grid, task, suite.protocol)}
            for track, setting in chosen.items():
                if setting in grid:
                    row = replace(grid[setting], only=suite.protocol.reported)
                    found += [Cell(method, track, task, row, setting)] if suite_rows.is_recorded(row, task) else []
    return found


def _grids(suite: Suite, store: Store) -> dict[str, dict[str, dict[Setting, Row]]]:
    """{method: {task: {setting: its stored run with all of its seeds}}}."""
    configs = {task: suite_rows.task_config(task.overrides, store) for task in suite.tasks}
    tasks = {_task_key(config): task for task, config in configs.items()}
    envs = {config["env"]["name"] for config in configs.values()}
    runs: dict[str, list[tuple[Task, Setting, Row]]] = {}
    for run in store.runs():
        config = run.config()
        if config["env"]["name"] not in envs or config["algo"]["name"] in suite.leave_out:
            continue
        task = tasks.get(_task_key(config))
        setting = task and _setting(config, configs[task]["optim"]["lr"], suite.protocol)
        if setting:
            key = json.dumps(identity(config)["algo"], sort_keys=True)
            runs.setdefault(key, []).append((task, setting, Row(config, label(config, hide=HIDDEN), run)))
    found: dict[str, dict[str, dict[Setting, Row]]] = {}
    methods = method_names([rows[0][2].config for rows in runs.values()], HIDDEN)
    for method, rows in zip(methods, runs.values(), strict=True):
        for task, setting, row in rows:
            found.setdefault(method, {}).setdefault(task.name, {})[setting] = replace(row, label=method)
    return found


def _setting(config: dict[str, Any], base: float, protocol: Protocol) -> Setting | None:
    """The setting of the grid, or the default, that a run was trained with."""
    wanted: Iterable[Setting] = [DEFAULT, *suite_rows.settings(protocol)]
    rate, epochs = config["optim"]["lr"], config["train"]["epochs"]
    return next((s for s in wanted if suite_rows.learning_rate(base, s.factor) == rate and s.epochs == epochs), None)


def _task_key(config: dict[str, Any]) -> str:
    """The settings that all runs of a task share: all but the algorithm, the learning rate and the epochs."""
    return identity_without({"algo": {}} | config, "algo", "optim.lr", "train.epochs")
