"""python run.py plan=NAME budget=TIME: train a plan until its time is spent, in processes that share its tasks."""

import logging
import math
import multiprocessing
import os
import re
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from analysis import cost, status
from conf.messages import ConfigError, duration, unknown
from conf.resolve import parse_section, resolve
from launch import plans
from launch.job import screen
from launch.kinds import LAUNCHES, Joblib, Serial, cores, lower_priority
from launch.sweep import prepare_workers
from store.archive import Archive
from store.results import Results
from store.runs import RunStore
from training.experiment import Outcome, execute
from training.stop import Stop, Stopped

KEYS = ("plan", "budget", "launch", "launch.workers", "launch.nice", "device", "runs_dir", "env.data_dir")
UNITS = {"s": 1, "m": 60, "h": 3600}
PROCESSES = multiprocessing.get_context("spawn")  # a fork beside OpenMP's threads hangs
log = logging.getLogger(__name__)
ARCHIVE = Path("results")
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Settings:
    """What the command line asked for; `budget` in seconds, infinite where none was given."""

    plan: str
    budget: float
    workers: int
    nice: int
    runs_dir: Path
    overrides: tuple[str, ...]  # for every task
    data_dir: str | None

    @property
    def store(self) -> Results:
        return Results(RunStore(self.runs_dir), Archive(ARCHIVE))


def is_asked(argv: list[str]) -> bool:
    """Whether a command line names a plan or a budget."""
    return any(arg.startswith(("plan=", "budget=")) for arg in argv)


def run(argv: list[str], console: Console) -> int:
    """Train the plan that `argv` names and return the exit code; raises ConfigError before any work."""
    settings = parse(argv)
    store = settings.store
    tasks = list(plans.tasks(plans.read(settings.plan), store))
    wanted = [(task.row, task.seeds) for task in tasks]
    before = status.cells(wanted, store)
    if settings.budget == 0:
        _show(settings, before, console)
        return 0
    left = "until all of it is done" if math.isinf(settings.budget) else f"for {duration(settings.budget)}"
    console.print(f"plan {settings.plan}: {settings.workers} processes, {left}", soft_wrap=True)
    stop = Stop(time.time() + settings.budget)
    with stop.listening():
        code = (_work_alone if settings.workers == 1 else _work_together)(settings, tasks, stop)
    now = status.cells(wanted, store)
    _show(settings, {key: replace(cell, before=before[key].done) for key, cell in now.items()}, console)
    runs = [store.folder.find(cell.row.config) for cell in now.values()]
    unfinished = sum(run.manifest().get("status") == "interrupted" for run in runs)
    new = sum(len(cell.done - before[key].done) for key, cell in now.items())
    console.print(f"{new} seeds new; {unfinished} runs wait at a checkpoint, from which the same command goes on")
    return 128 + stop.signal if stop.signal else code


def parse(argv: list[str]) -> Settings:
    """The settings of a plan; raises ConfigError that names the key, the value and what is allowed."""
    given = {}
    for arg in argv:
        key, equals, value = arg.partition("=")
        if not equals or key not in KEYS:
            raise ConfigError(
                unknown(arg if not equals else key, KEYS, "a plan says what is trained, and takes no such")
            )
        given[key] = value
    if not given.get("plan"):
        raise ConfigError(f"budget={given['budget']}: only a plan has one; plan={plans.names()[0]} for example")
    budget = parse_budget(given["budget"]) if "budget" in given else math.inf
    passed = [
        f"{key}={given[key]}"
        for key in ("launch", "launch.workers", "launch.nice", "device", "runs_dir")
        if key in given
    ]
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("config", passed)
    experiment, launch = resolve(cfg), parse_section(cfg, "launch", LAUNCHES)
    if type(launch) not in (Serial, Joblib):
        raise ConfigError(
            f"launch={launch.name}: a plan trains on this machine; start its command in each of your jobs"
        )
    workers = getattr(launch, "workers", 1) or (1 if experiment.device.type == "cuda" else cores())
    data_dir = given.get("env.data_dir")
    if data_dir is not None and not Path(data_dir).is_dir():
        raise ConfigError(f"env.data_dir={data_dir}: no such folder")
    overrides = tuple(f"{key}={given[key]}" for key in ("device", "runs_dir") if key in given)
    return Settings(given["plan"], budget, workers, launch.nice, experiment.runs_dir, overrides, data_dir)


def parse_budget(text: str) -> float:
    """Seconds of a text such as 2h, 90m or 600s; raises ConfigError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])|0", text)
    if not match:
        raise ConfigError(f"budget={text}: must be a time such as 2h, 90m or 600s, or 0 to see what is left")
    return float(match[1]) * UNITS[match[2]] if match[1] else 0.0


def _work_alone(settings: Settings, tasks: list[plans.Task], stop: Stop) -> int:
    """Train in this process; the exit code."""
    lower_priority(settings.nice)
    return int(train_in_turn(settings, tasks, stop))


def _work_together(settings: Settings, tasks: list[plans.Task], stop: Stop) -> int:
    """Train in several processes and wait for them; the exit code, 1 where a task failed or a process died."""
    prepare_workers(max(1, cores() // settings.workers))
    shared = (settings, [task.without_run() for task in tasks], stop.deadline, os.getpid())
    workers = [PROCESSES.Process(target=_work, args=shared) for _ in range(settings.workers)]
    try:
        _start(workers)
        while any(worker.is_alive() for worker in workers) and not stop.signal:
            wait([worker.sentinel for worker in workers if worker.is_alive()], POLL_SECONDS)
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
        for worker in workers:
            worker.join()
    except KeyboardInterrupt:  # the second one
        for worker in workers:
            worker.kill()
        raise
    killed = [worker for worker in workers if worker.exitcode < 0 and not stop.signal]
    for worker in killed:
        log.error("a process was killed by signal %d; the same command goes on from its checkpoint", -worker.exitcode)
    return int(any(worker.exitcode for worker in workers))


def _start(workers: list[BaseProcess]) -> None:
    """Start processes that leave Ctrl-C to this one, even while they import."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    for worker in workers:
        worker.start()
    signal.signal(signal.SIGINT, handler)


def _work(settings: Settings, tasks: list[plans.Task], deadline: float, parent: int) -> None:
    """What each process does; its exit code is 1 where a task failed."""
    os.setsid()  # a Ctrl-C in the terminal reaches the parent alone, which passes it on once
    lower_priority(settings.nice, session=True)
    stop = Stop(deadline, parent)
    with stop.listening():
        sys.exit(train_in_turn(settings, tasks, stop))


def train_in_turn(settings: Settings, tasks: list[plans.Task], stop: Stop) -> bool:
    """Train one task after the other until none is left or `stop` is due; whether one failed."""
    console, store, failed = screen(bars=settings.workers == 1), settings.store, set()
    with suppress(Stopped):
        while _train_free(tasks, store, failed, settings, console, stop) and not stop.due:
            # what is undecided may be other cells now
            tasks = list(plans.tasks(plans.read(settings.plan), settings.store))
    return bool(failed)


def _train_free(
    tasks: list[plans.Task], store: Results, failed: set[str], settings: Settings, console: Console, stop: Stop
) -> bool:
    """Train always the first task that is free, until none is; whether there was any."""
    trained = False
    while not stop.due:
        task = next((task for task in tasks if task.name not in failed and task.is_free(store)), None)
        if task is None:
            break
        trained = True
        outcome = _train(task, task.missing(store), settings, console, stop)
        if outcome.status == "busy":  # another process was faster
            continue
        done = sum(not task.missing(store) for task in tasks)
        text = f"plan {settings.plan}: {done} of {len(tasks)} steps done ({outcome.status}: {task.name})"
        console.print(text, soft_wrap=True, highlight=False)
        if outcome.status not in ("done", "skipped"):
            failed.add(task.name)
    return trained


def _train(task: plans.Task, missing: tuple[int, ...], settings: Settings, console: Console, stop: Stop) -> Outcome:
    overrides = [*task.row.overrides, *settings.overrides]
    if settings.data_dir is not None and "data_dir" in task.row.config["env"]:
        overrides.append(f"env.data_dir={settings.data_dir}")
    try:
        with initialize_config_module("conf", version_base="1.3"):
            experiment = resolve(compose("config", overrides))
    except (HydraException, OmegaConfBaseException, ConfigError) as error:
        console.print(f"{task.name}: refused: {error}", style="red", soft_wrap=True, markup=False)
        return Outcome(task.row.label, "refused", message=str(error))
    console.print(f"{task.name}: {len(missing)} of {len(task.seeds)} seeds to train", soft_wrap=True, highlight=False)
    return execute(replace(experiment, seeds=missing), console, stop)


def _show(settings: Settings, now: dict[str, status.Cell], console: Console) -> None:
    frame = status.summarise(status.by_figure(now.values()), cost.speeds(settings.store), settings.workers)
    console.print(status.render(frame, f"plan {settings.plan}; hours of {settings.workers} processes"))
