"""The rows that fill the cells of a suite: the configuration of each task, method and setting, and its run.

A method has one cell per task and track. Track "default": the task's own learning rate, the method's own epochs. Track
"tuned": the learning rate and epochs of the lowest late error on seeds that are used for nothing else.
"""

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from analysis import suites
from analysis.cache import Cache
from analysis.compose import algo_file
from analysis.labels import ALGOS, label
from analysis.load import Row, Store, cache_of
from analysis.suites import DEFAULT, Protocol, Setting, Suite, Task
from conf.compose import composed
from conf.messages import ConfigError, explain, unknown
from conf.own_files import PATHS, own_files, register
from store.identity import CHOICES, SECTIONS, canonical


def default_rows(suite: Suite, algo: str, store: Store, folder: str | None = None) -> Iterator[Row]:
    """The runs of the default track of a method."""
    section = algo_section(algo, folder)
    for task in suite.tasks:
        yield configured_row(task, algo, section, DEFAULT, suite.protocol.reported, store)


def tuned_rows(suite: Suite, algo: str, store: Store, folder: str | None = None) -> Iterator[Row]:
    """The runs of the tuned track of a method: all settings on tuning seeds, then the best on reported ones."""
    protocol, section = suite.protocol, algo_section(algo, folder)
    for task in suite.tasks:
        grid = {s: configured_row(task, algo, section, s, protocol.tuning_seeds, store) for s in settings(protocol)}
        yield from grid.values()
        best = choose(grid, task, protocol)
        if best is not None:
            yield configured_row(task, algo, section, best, protocol.reported, store)


def settings(protocol: Protocol) -> list[Setting]:
    """The grid of the tuned track."""
    return [Setting(factor, epochs) for factor in protocol.learning_rates for epochs in protocol.epochs]


def choose(grid: dict[Setting, Row], task: Task, protocol: Protocol) -> Setting | None:
    """The setting of the lowest mean late error on the tuning seeds; None while any of them is missing."""
    found = {}
    for setting in settings(protocol):
        row = grid.get(setting)
        late = row.late(task.metric) if row is not None and is_recorded(row, task) else {}
        if not set(protocol.tuning_seeds) <= late.keys():
            return None
        found[setting] = sum(late[seed] for seed in protocol.tuning_seeds) / len(protocol.tuning_seeds)
    return min(found, key=lambda setting: (found[setting], *setting.distance))


def is_recorded(row: Row, task: Task) -> bool:
    """Whether the row has a seed; raises ConfigError if its seeds lack the metric of the task."""
    if row.seeds and not row.has(task.metric):
        raise ConfigError(unknown(f"task {task.name}: metric={task.metric}", row.metrics, "not recorded"))
    return bool(row.seeds)


def without_tuning_seeds(rows: list[Row]) -> list[Row]:
    """The rows without the seeds on which suites tune, which no table reports; a row that has no other is left out."""
    tuning = {seed for name in suites.names() for seed in suites.read(name).protocol.tuning_seeds}
    found = (replace(row, only=tuple(sorted({*row.seed_numbers} - tuning))) for row in rows)
    return [row for row in found if row.seeds]


def is_edge(setting: Setting, protocol: Protocol) -> bool:
    """Whether a choice lies on the edge of the grid of learning rates, so that a better one may lie beyond."""
    return setting.factor in (min(protocol.learning_rates), max(protocol.learning_rates))


def algo_section(name: str, folder: str | None) -> dict[str, Any]:
    """The settings of an algorithm of the suite, or of one's own folder."""
    if (ALGOS / f"{name}.yaml").exists() or folder is None:
        return algo_file(name)
    from conf.discover import find_classes  # with torch, which the suite's own methods do not need here

    section = OmegaConf.to_container(own_files("algo", folder)[name])
    cls = find_classes("algo", folder).get(section.get("objective"))
    # a run is stored with all settings of its class, also those that the file leaves to it
    defaults = {field.name: field.default for field in dataclasses.fields(cls)} if cls else {}
    return {key: value for key, value in defaults.items() if value is not dataclasses.MISSING} | section


def configured_row(
    task: Task, algo: str, section: dict[str, Any], setting: Setting, seeds: tuple[int, ...], store: Store
) -> Row:
    """The row of a task with an algorithm, whose settings are `section`, in a setting of the grid."""
    base = task_config(task.overrides, store)
    own_rate = base["optim"].get("lr")
    if not isinstance(own_rate, int | float):
        raise ConfigError(f"task {task.name}: optim.lr={own_rate}: must be a number")
    rate = learning_rate(own_rate, setting.factor)
    config = base | {"algo": section, "optim": base["optim"] | {"lr": rate}}
    overrides = [*task.overrides, f"algo={algo}"]
    if setting.factor != 1:
        overrides.append(f"optim.lr={rate}")
    if setting.epochs is not None:
        overrides.append(f"train.epochs={setting.epochs}")
        config |= {"train": base["train"] | {"epochs": setting.epochs}}
    config = canonical(config)
    return Row(config, label(config), store.find(config), seeds, tuple(overrides))


def learning_rate(base: float, factor: float) -> float:
    """A learning rate of the grid, with three digits."""
    return base if factor == 1 else float(f"{base * factor:.3g}")


def task_config(overrides: tuple[str, ...], store: Store) -> dict[str, Any]:
    """The config of a task without an algorithm, not to be changed."""
    return _task_config(overrides, _own_texts(overrides), cache_of(store))


@cache
def _task_config(overrides: tuple[str, ...], own: tuple[str, ...], disk_cache: Cache) -> dict[str, Any]:
    if _is_typed(overrides):
        return _resolved(overrides)
    return disk_cache.get_json(["task", overrides, own], lambda: _composed(overrides))


def _is_typed(overrides: tuple[str, ...]) -> bool:
    """Whether the config of a stored run has more than the files of the task say: of own classes, and of own data."""
    return any(o.startswith(("env_path=", "model_path=", "env=text")) or "\\n" in o for o in overrides)


def _resolved(overrides: tuple[str, ...]) -> dict[str, Any]:
    """The config as a run of the task is stored, without its algorithm; raises ConfigError."""
    from conf.resolve import compose_experiment  # with torch, which the suite's own tasks do not need here

    try:
        # the folder of runs is no part of a config, and is not to be made by a command that only reads
        found = canonical(compose_experiment([*overrides, f"runs_dir={tempfile.gettempdir()}"]).config)
    except (HydraException, OmegaConfBaseException, ConfigError, ValueError) as error:
        raise ConfigError(f"task with set={' '.join(overrides)}: {explain(error, list(overrides))}") from None
    return {key: found[key] for key in (*SECTIONS, *CHOICES) if key != "algo"}


def _own_texts(overrides: tuple[str, ...]) -> tuple[str, ...]:
    """The yaml files of the folders that overrides name, on which the config depends beside our own files."""
    named = [os.path.expanduser(value) for key, _, value in (o.partition("=") for o in overrides) if key in PATHS]
    return tuple(path.read_text() for folder in named for path in sorted(Path(folder).glob("*.yaml")))


def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    try:
        register(list(overrides))  # a task of one's own names its folder: env=mine env_path=FOLDER
        cfg = composed(overrides)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"task with set={' '.join(overrides)}: {explain(error, list(overrides))}") from None
    found = {s: OmegaConf.to_container(cfg[s], resolve=True) for s in SECTIONS if s != "algo"}
    return canonical(found | {choice: cfg[choice] for choice in CHOICES})
