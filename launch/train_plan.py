"""Train what a plan or a suite asks for until its time is spent, in processes that share its tasks."""

import logging
import math
import multiprocessing
import os
import sys
import time
from dataclasses import replace
from multiprocessing.connection import wait

import pandas as pd
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from analysis import cost, leaderboard, status, suites
from analysis.load import Row
from analysis.suite_cells import cells
from conf.entry import run_main, sigint_ignored
from conf.fit import MisfitError
from conf.messages import ConfigError, duration
from conf.resolve import compose_experiment
from launch import failures, plans
from launch.job import screen
from launch.kinds import cores, lower_priority
from launch.requests import Request, parse
from launch.sweep import prepare_workers
from launch.watch import POLL_SECONDS
from store.results import Results
from training.experiment import Outcome, execute
from training.stop import Stop, Stopped

PROCESSES = multiprocessing.get_context("spawn")  # a fork beside OpenMP's threads hangs
log = logging.getLogger(__name__)
WAIT_SECONDS = 5
RENEW_SECONDS = 300  # after which what was trained may have decided what else is worth training


def run(argv: list[str], console: Console) -> int:
    """Train the plan or suite that `argv` names and return the exit code; raises ConfigError before any work."""
    request = parse(argv)
    store, tasks = request.store, request.tasks()
    before = status.cells(_wanted(tasks), store)
    if not store.archive.root.is_dir():
        text = "there is no folder results/ here, so what the repository ships counts as missing"
        console.print(f"{request.title}: {text}; to count it, type the command in the repository", soft_wrap=True)
    if request.budget == 0:
        _show(request, before, console)
        if plans.may_grow(request.entries) and any(task.missing(store) for task in tasks):
            later = "the seeds that a tuned track reports, and cells that stay undecided"
            console.print(f"not counted is what these runs decide: {later}", soft_wrap=True)
        return 0
    left = "until all of it is done" if math.isinf(request.budget) else f"for {duration(request.budget)}"
    console.print(f"{request.title}: {request.workers} processes, {left}; {_forecast(request, before)}", soft_wrap=True)
    stop = Stop(time.time() + request.budget)
    failures.watch(request.runs_dir / ".sweeps")
    with stop.listening():
        code = (_work_alone if request.workers == 1 else _work_together)(request, tasks, stop)
    failures.ignore()
    now = status.cells(_wanted(request.tasks()), store)
    before |= {key: replace(cell, done=frozenset()) for key, cell in now.items() if key not in before}
    _show(request, {key: replace(cell, before=before[key].done) for key, cell in now.items()}, console)
    runs = [store.folder.find(cell.row.config) for cell in now.values()]
    unfinished = sum(run.manifest().get("status") == "interrupted" for run in runs)
    new = sum(len(cell.done - before[key].done) for key, cell in now.items())
    console.print(f"{new} seeds new; {unfinished} runs wait at a checkpoint, from which the same command goes on")
    if request.suite and not stop.signal:
        _show_board(request, console)
    return 128 + stop.signal if stop.signal else code


def _wanted(tasks: list[plans.Task]) -> list[tuple[Row, tuple[int, ...], str]]:
    """Rows, seeds and sources of tasks."""
    return [(task.row, task.seeds, task.source) for task in tasks]


def _work_alone(request: Request, tasks: list[plans.Task], stop: Stop) -> int:
    """Train in this process; the exit code."""
    lower_priority(request.nice)
    return int(train_in_turn(request, tasks, stop))


def _work_together(request: Request, tasks: list[plans.Task], stop: Stop) -> int:
    """Train in several processes and wait for them; the exit code, 1 where a task failed or a process died."""
    prepare_workers(max(1, cores() // request.workers))
    shared = (request, [task.without_run() for task in tasks], stop.deadline, os.getpid())
    workers = [PROCESSES.Process(target=_work, args=shared) for _ in range(request.workers)]
    try:
        with sigint_ignored():
            for worker in workers:
                worker.start()
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


def _work(request: Request, tasks: list[plans.Task], deadline: float, parent: int) -> None:
    """The work of each process; its exit code is 1 where a task failed."""
    os.setsid()  # a Ctrl-C in the terminal reaches the parent alone, which passes it on once
    lower_priority(request.nice, session=True)
    stop = Stop(deadline, parent)
    with stop.listening():
        sys.exit(run_main(lambda: train_in_turn(request, tasks, stop)))


def train_in_turn(request: Request, tasks: list[plans.Task], stop: Stop) -> bool:
    """Train one task after the other until none is left or `stop` is due; whether one failed."""
    console, store, left_out = screen(bars=request.workers == 1), request.store, {}
    grows = plans.may_grow(request.entries)
    try:
        while not stop.due:
            trained = _train_free(tasks, store, left_out, request, console, stop)
            waits = grows and any(task.is_busy(store) for task in tasks)
            if not trained and not waits:
                break
            if not trained:  # what other processes train now may decide what else there is to train
                time.sleep(WAIT_SECONDS)
            tasks = request.tasks()
    except Stopped:
        pass
    except ConfigError as error:  # only what was recorded can tell that a task's metric does not exist
        console.print(str(error), style="red", soft_wrap=True, highlight=False)
        return True
    return any(status != "unfit" for status in left_out.values())


def _train_free(
    tasks: list[plans.Task], store: Results, left_out: dict[str, str], request: Request, console: Console, stop: Stop
) -> bool:
    """Train always the first task that is free, until none is or it is time to plan anew; whether there was any.

    left_out  {task: why} of those that cannot be trained, to which this adds
    """
    trained, waiting, until = False, list(tasks), time.monotonic() + RENEW_SECONDS
    while not stop.due and time.monotonic() < until:
        task = _take_first_free(waiting, store, left_out)
        if task is None:
            break
        outcome = _train(task, task.missing(store), request, console, stop)
        if outcome.status == "busy":  # another process was faster
            waiting.append(task)
            continue
        trained = True
        left = sum(bool(other.missing(store)) for other in waiting)
        text = f"{request.title}: {left} of {len(tasks)} runs left ({outcome.status}: {task.name})"
        console.print(text, soft_wrap=True, highlight=False)
        if outcome.status == "failed":
            console.print(f"{outcome.message} (traceback: {outcome.run.traceback})", style="red", soft_wrap=True)
        if outcome.status not in ("done", "skipped") or task.missing(store):
            left_out[task.name] = outcome.status
        failures.record(outcome)
        if place := failures.common_place():
            console.print(f"the first runs failed in the same place, {place}; mend it and type the same command")
            raise Stopped(0)
    return trained


def _take_first_free(waiting: list[plans.Task], store: Results, left_out: dict[str, str]) -> plans.Task | None:
    """Take from `waiting` the first task that can be trained now, and what is done before it."""
    for place, task in enumerate(waiting):
        if task.name not in left_out and task.is_free(store):
            waiting[: place + 1] = [other for other in waiting[:place] if other.is_busy(store)]
            return task
    return None


def _train(task: plans.Task, missing: tuple[int, ...], request: Request, console: Console, stop: Stop) -> Outcome:
    overrides = [*task.row.overrides, *request.overrides]
    if request.data is not None and "data_dir" in task.row.config["env"]:
        overrides.append(request.data)
    try:
        experiment = compose_experiment(overrides)
    except MisfitError as error:
        console.print(f"{task.name}: left out: {error}", soft_wrap=True)
        return Outcome(task.row.label, "unfit", message=str(error))
    except (HydraException, OmegaConfBaseException, ConfigError) as error:
        console.print(f"{task.name}: refused: {error}", style="red", soft_wrap=True)
        return Outcome(task.row.label, "refused", message=str(error))
    console.print(f"{task.name}: {len(missing)} of {len(task.seeds)} seeds to train", soft_wrap=True, highlight=False)
    return execute(replace(experiment, seeds=missing), console, stop)


def _forecast(request: Request, cells: dict[str, status.Cell]) -> str:
    """How long all that is known to be missing takes, as far as like runs tell."""
    whole = _summary(request, cells).iloc[-1]
    unknown = f" and {whole.unknown} configurations whose like was never run" if whole.unknown else ""
    return f"what is missing takes about {duration(3600 * whole.hours)}{unknown}"


def _summary(request: Request, cells: dict[str, status.Cell]) -> pd.DataFrame:
    return status.summarise(status.by_figure(cells.values()), cost.speeds(request.store), request.workers)


def _show_board(request: Request, console: Console) -> None:
    """Print the lines of the algorithms that were asked for, beside TPO, GRPO and the best."""
    suite = suites.read(request.suite)
    found = cells(suite, request.store)
    asked = [cell.method for cell in found if cell.row.config["algo"]["name"] in request.algos]
    lines = leaderboard.board(found, suite)
    for table in leaderboard.render(leaderboard.neighbours(lines, asked), suite) if len(lines) else ():
        console.print(table)


def _show(request: Request, now: dict[str, status.Cell], console: Console) -> None:
    frame = _summary(request, now)
    console.print(status.render(frame, f"{request.title}; hours of {request.workers} processes"))
