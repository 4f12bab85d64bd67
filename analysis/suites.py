"""Suites: files that declare tasks and the protocol that holds for every method."""

import dataclasses
import fnmatch
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.compose import SWEEPS, names_in, overrides_of, read_yaml
from analysis.labels import ALGOS
from conf.messages import ConfigError, unknown
from conf.own_files import own_files
from store.identity import MOST_SEEDS

TRACKS = ("default", "tuned")
KEYS = ("protocol", "leave_out", "tasks", "include", "limits")
MAY_SET = ("env", "model", "optim", "train", "match", "sampler", "env_path", "model_path")


@dataclass(frozen=True)
class Protocol:
    """The rules that hold for every method.

    seeds          number of reported seeds, 0 to seeds - 1
    tuning_seeds   seeds on which the tuned track chooses; none of them is reported
    learning_rates  factors of the task's learning rate among which it chooses
    epochs         gradient steps per rollout among which it chooses
    """

    seeds: int = 10
    tuning_seeds: tuple[int, ...] = (100, 101, 102)
    learning_rates: tuple[float, ...] = (0.1, 0.316, 1, 3.16, 10)
    epochs: tuple[int, ...] = (1, 4)

    def __post_init__(self):
        fine = type(self.seeds) is int and 1 <= self.seeds <= MOST_SEEDS
        _require(fine, "seeds", self.seeds, f"a number from 1 to {MOST_SEEDS}")
        for key, least in (("tuning_seeds", 0), ("epochs", 1)):
            values = getattr(self, key)
            fine = isinstance(values, tuple) and values and all(type(v) is int and v >= least for v in values)
            _require(fine, key, values, f"a list of whole numbers >= {least}")
        rates = self.learning_rates
        fine = isinstance(rates, tuple) and rates and all(type(v) in (int, float) and 0 < v < math.inf for v in rates)
        _require(fine, "learning_rates", rates, "a list of numbers > 0")
        once = len(set(self.tuning_seeds)) == len(self.tuning_seeds) and max(self.tuning_seeds) < 2**31
        _require(once, "tuning_seeds", self.tuning_seeds, f"different whole numbers below {2**31}")
        apart = not set(self.reported) & set(self.tuning_seeds)
        _require(apart, "tuning_seeds", self.tuning_seeds, "none of the reported seeds")

    @property
    def reported(self) -> tuple[int, ...]:
        return tuple(range(self.seeds))


@dataclass(frozen=True)
class Task:
    """A task of a suite.

        score = (chance - error) / (chance - best)

    set      overrides that make it: python run.py SET algo=NAME; a task of one's own adds env_path=FOLDER
    metric   what counts as its error
    chance   error of random answers, which scores 0
    best     lowest late error known, which scores 1
    """

    name: str
    family: str
    set: str
    chance: float
    best: float
    metric: str = "error"

    def __post_init__(self):
        for key in ("name", "family", "set", "metric"):
            _require(isinstance(getattr(self, key), str) and getattr(self, key), key, getattr(self, key), "some text")
        for key in ("chance", "best"):
            number = type(getattr(self, key)) in (int, float) and math.isfinite(getattr(self, key))
            _require(number, key, getattr(self, key), "a number")
        for override in self.overrides:
            key = override.partition("=")[0]
            fine = key in MAY_SET or key.startswith(tuple(f"{name}." for name in MAY_SET))
            _require(fine, "set", override, f"one that makes a task: {', '.join(MAY_SET)}")
        _require(self.best < self.chance, "best", self.best, f"below chance={self.chance}")

    @property
    def overrides(self) -> tuple[str, ...]:
        return overrides_of(self.set)


@dataclass(frozen=True)
class Suite:
    """Tasks with a protocol.

    leave_out  algorithms that are not ranked, and why
    limits     sentences about what its board cannot show
    """

    name: str
    protocol: Protocol
    leave_out: dict[str, str]
    tasks: tuple[Task, ...]
    limits: tuple[str, ...] = ()

    @property
    def families(self) -> list[str]:
        return list(dict.fromkeys(task.family for task in self.tasks))


@dataclass(frozen=True)
class Setting:
    """A learning rate, as a factor of the task's own, and gradient steps per rollout; null: the method's own."""

    factor: float = 1
    epochs: int | None = None

    @property
    def distance(self) -> tuple[float, int]:
        """By which equally good settings are ordered: the nearest to the default, then the cheapest."""
        return max(self.factor, 1 / self.factor), self.epochs or 0


DEFAULT = Setting()


def _require(ok: object, key: str, value: object, allowed: str) -> None:
    """Raise ValueError unless `ok`."""
    if not ok:
        raise ValueError(f"{key}={list(value) if isinstance(value, tuple) else value}: must be {allowed}")


def names() -> list[str]:
    return names_in(SWEEPS / "suites")


def read(name: str, within: tuple[Path, ...] = ()) -> Suite:
    """The suite of sweeps/suites/NAME.yaml, or of a file of one's own; raises ConfigError.

    within  the files that include it
    """
    path, content = read_yaml("suite", name, within)
    try:
        return _suite(path.stem, content, (*within, path))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def _suite(name: str, content: Any, files: tuple[Path, ...]) -> Suite:
    """The suite of a file's content; raises ValueError."""
    if not isinstance(content, dict) or not content.keys() & {"tasks", "include"}:
        raise ValueError("must have a list `tasks` of entries such as {name: ..., family: ..., set: env=digits, ...}")
    for key in content:
        if key not in KEYS:
            raise ValueError(unknown(str(key), KEYS))
    included, listed, left = content.get("include"), content.get("tasks", []), content.get("leave_out")
    limits = content.get("limits", [])
    _require("include" not in content or isinstance(included, str), "include", included, "the name of a suite")
    _require(isinstance(listed, list) and (listed or included), "tasks", listed, "a list of at least one task")
    _require("leave_out" not in content or isinstance(left, dict), "leave_out", left, "names with reasons")
    _require(isinstance(limits, list), "limits", limits, "a list of sentences")
    base = read(included, files) if included else Suite("", Protocol(), {}, ())
    tasks = (*base.tasks, *(_record(Task, entry, f"task {i}") for i, entry in enumerate(listed, 1)))
    for key in ("name", "set"):
        values = [getattr(task, key) for task in tasks]
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise ValueError(f"{key}={twice[0]}: two tasks have it; a task has one {key} of its own")
    protocol = _protocol(content.get("protocol", {}), base.protocol)
    limits = tuple(map(str, limits)) or base.limits
    return Suite(name, protocol, base.leave_out if left is None else left, tasks, limits)


def _protocol(entry: Any, base: Protocol) -> Protocol:
    """The protocol of a file: what it does not say is as in the suite that it includes."""
    inherited = dataclasses.asdict(base)
    return _record(Protocol, inherited | entry if isinstance(entry, dict) else entry, "protocol")


def _record(kind: type, entry: Any, what: str) -> Any:
    """A dataclass of an entry of the file; raises ValueError."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if not isinstance(entry, dict):
        raise ValueError(f"{what}: must have the keys {', '.join(fields)}")
    for key in entry:
        if key not in fields:
            raise ValueError(f"{what}: {unknown(str(key), fields)}")
    missing = [key for key, f in fields.items() if key not in entry and f.default is dataclasses.MISSING]
    if missing:
        raise ValueError(f"{what}: lacks {', '.join(missing)}")
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()})
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def methods(suite: Suite, pattern: str, folder: str | None = None) -> list[str]:
    """The algorithms that `algo=PATTERN` names: a name, names with commas between, or glob(*); raises ConfigError.

    folder  of one's own algorithms
    """
    known = names_in(ALGOS) + ([] if folder is None else list(own_files("algo", folder)))
    if pattern.startswith("glob(") and pattern.endswith(")"):
        found = [name for name in fnmatch.filter(known, pattern[5:-1]) if name not in suite.leave_out]
    else:
        found = list(dict.fromkeys(pattern.split(",")))
    for name in found or [pattern]:
        if name not in known:
            own = f"; or algo_path=FOLDER with a {name}.yaml of your own" * (folder is None)
            raise ConfigError(unknown(f"algo={name}", known, "not found") + own)
        if name in suite.leave_out:
            raise ConfigError(f"algo={name}: the suite {suite.name} leaves it out: {suite.leave_out[name]}")
    return found
