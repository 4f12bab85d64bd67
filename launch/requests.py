"""Reads the words of `python run.py plan=NAME` and `python run.py suite=NAME`."""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from analysis import suites
from conf.compose import composed
from conf.fit import MisfitError
from conf.messages import ConfigError, explain, unknown
from conf.own_files import register
from conf.resolve import TOP_LEVEL, compose_experiment, resolve
from conf.values import parse_section
from launch import plans
from launch.command_line import value_of
from launch.kinds import LAUNCHES, Joblib, Serial, cores
from store.archive import Archive
from store.results import Results
from store.runs import RunStore

SHARED = ("budget", "launch", "launch.workers", "launch.nice", "device", "runs_dir", "env.data_dir", "algo_path")
KEYS = {"plan": ("plan", *SHARED), "suite": ("suite", "algo", "track", *SHARED)}
FOR_EACH_TASK = ("device", "runs_dir", "algo_path")
COMPOSED = ("launch", "launch.workers", "launch.nice", *FOR_EACH_TASK)
UNITS = {"s": 1, "m": 60, "h": 3600}
ARCHIVE = Path("results")


@dataclass(frozen=True)
class Request:
    """The tasks to train, and how to train them.

    title      how progress lines name it
    entries    what to train, in order of value
    budget     seconds; infinite where none was given
    overrides  for every task
    data       the override with the folder of the data, for the tasks that have one
    algo_path  a folder of the user's own algorithms
    suite      the suite whose table is printed at the end, and the algorithms that it is about
    """

    title: str
    entries: tuple[plans.Entry, ...]
    budget: float
    workers: int
    nice: int
    runs_dir: Path
    overrides: tuple[str, ...]
    data: str | None
    algo_path: str | None = None
    suite: str | None = None
    algos: tuple[str, ...] = ()

    @property
    def store(self) -> Results:
        return Results(RunStore(self.runs_dir), Archive(ARCHIVE))

    def tasks(self) -> list[plans.Task]:
        """The tasks of the plan or suite, as what is stored now decides them; those that are done too."""
        return list(plans.tasks(self.entries, self.store, self.algo_path))


def is_asked(argv: list[str]) -> bool:
    """Whether a command line names a plan, a suite or a budget."""
    return any(arg.startswith(("plan=", "suite=", "budget=")) for arg in argv)


def parse(argv: list[str]) -> Request:
    """The request of a command line; raises ConfigError that names the key, the value and what is allowed."""
    kind = "suite" if any(arg.startswith("suite=") for arg in argv) else "plan"
    words = _words(argv, kind)
    given = {key: value_of(word) for key, word in words.items()}
    budget = parse_budget(given["budget"]) if "budget" in given else math.inf
    register(_chosen(words, "algo_path"))
    cfg = composed(_composed(words))
    experiment, launch = resolve(cfg), parse_section(cfg, "launch", LAUNCHES)
    if type(launch) not in (Serial, Joblib):
        raise ConfigError(
            f"launch={launch.name}: a {kind} trains on this machine; start its command in each of your jobs"
        )
    data_dir = given.get("env.data_dir", "null")
    if data_dir != "null" and not Path(os.path.expanduser(data_dir)).is_dir():
        raise ConfigError(f"env.data_dir={data_dir}: no such folder")
    name, is_suite = given[kind], kind == "suite"
    algos = _methods(given, words) if is_suite else ()
    return Request(
        title=f"{kind} {name}",
        entries=_tracks(name, given["algo"], given.get("track")) if is_suite else tuple(plans.read(name)),
        budget=budget,
        workers=getattr(launch, "workers", 1) or (1 if experiment.device.type == "cuda" else cores()),
        nice=launch.nice,
        runs_dir=experiment.runs_dir,
        overrides=tuple(_chosen(words, *FOR_EACH_TASK)),
        data=words.get("env.data_dir"),
        algo_path=given.get("algo_path"),
        suite=name if is_suite else None,
        algos=algos,
    )


def _words(argv: list[str], kind: str) -> dict[str, str]:
    """{key: its word} of a command with plan= or suite=; raises ConfigError for a key that is missing or refused."""
    if not any(arg.startswith(f"{kind}=") and arg != f"{kind}=" for arg in argv):
        typed = next((arg for arg in argv if arg.startswith("budget=")), f"{kind}=")
        raise ConfigError(f"{typed}: only a plan or a suite takes one; add plan=paper, for example")
    if kind == "suite" and any(arg.startswith("plan=") for arg in argv):
        raise ConfigError(f"{' '.join(argv)}: a plan or a suite, not both; type two commands")
    words = {}
    for arg in argv:
        key, equals, _ = arg.partition("=")
        if key == "force":
            way = "delete the folders runs/TASK/METHOD of what is to be trained again"
            raise ConfigError(f"{arg}: a {kind} trains only what is missing; {way}")
        if not equals or key not in KEYS[kind]:
            reason = f"cannot be set together with {kind}=, whose file says what is trained"
            if key in TOP_LEVEL:  # no misspelling of another key
                raise ConfigError(f"{key}: {reason}; allowed: {', '.join(KEYS[kind])}")
            raise ConfigError(unknown(arg if not equals else key, KEYS[kind], reason))
        if key == kind and key in words:
            raise ConfigError(f"{words[key]} {arg}: one {kind} at a time; type two commands")
        words[key] = arg
    return words


def _chosen(words: dict[str, str], *keys: str) -> list[str]:
    return [words[key] for key in keys if key in words]


def _composed(words: dict[str, str]) -> list[str]:
    """The overrides of a command; without launch= they ask for several processes, which need no plug-in of Hydra."""
    found = _chosen(words, *COMPOSED)
    if "launch" in words:
        return found
    forced = [f"++{word}" if word.startswith("launch.") else word for word in found]
    return ["++launch.name=joblib", "++launch.workers=null", *forced]


def _methods(given: dict[str, str], words: dict[str, str]) -> tuple[str, ...]:
    """The methods that a suite is asked to train; raises ConfigError for a task or a method that is wrong by itself."""
    suite = suites.read(given["suite"])
    if not given.get("algo"):
        raise ConfigError("algo: missing; name an algorithm, several with commas between, or algo='glob(*)' for all")
    algos = tuple(suites.methods(suite, given["algo"], given.get("algo_path")))
    for task in suite.tasks:
        _check(suite, task, algos if task == suite.tasks[0] else algos[:1], words)
    return algos


def parse_budget(text: str) -> float:
    """Seconds of a text such as 2h, 90m or 600s; raises ConfigError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])|0", text)
    if not match:
        raise ConfigError(f"budget={text}: must be a time such as 2h, 90m or 600s, or 0 to see what is left")
    return float(match[1]) * UNITS[match[2]] if match[1] else 0.0


def _check(suite: suites.Suite, task: suites.Task, algos: tuple[str, ...], words: dict[str, str]) -> None:
    """Raise ConfigError for a task or an algorithm that is wrong by itself; what does not fit is left out later."""
    for algo in algos:
        overrides = [*task.overrides, f"algo={algo}", *_chosen(words, "algo_path")]
        try:
            register(overrides)
            if "env.data_dir" in words and "data_dir" in composed(overrides).env:
                overrides.append(words["env.data_dir"])
            compose_experiment(overrides)
        except MisfitError:
            continue
        except (HydraException, OmegaConfBaseException, ConfigError, ValueError) as error:
            reason = explain(error, overrides)
            raise ConfigError(f"suite {suite.name}, task {task.name}, algo={algo}: {reason}") from None


def _tracks(suite: str, algo: str, track: str | None) -> tuple[plans.Entry, ...]:
    """The entries of a track, or of both."""
    if track is not None and track not in suites.TRACKS:
        raise ConfigError(unknown(f"track={track}", suites.TRACKS, "unknown choice"))
    chosen = suites.TRACKS if track is None else (track,)
    return tuple(plans.Entry(suite=suite, algo=algo, track=name) for name in chosen)
