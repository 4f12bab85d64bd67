"""python -m benchmarks.busy: what other processes on the cores cost a step, by how long OpenMP's threads look for work.

The seconds of a step on a machine that is otherwise quiet, and with one busy process on each core, for an image bandit,
a sequence task and a language model. GOMP_SPINCOUNT is how often a thread looks whether its partner is ready before it
sleeps; `conf/process.py` sets it. Each measurement is a process of its own; the median of its repeats counts.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from benchmarks.tables import new_table
from conf.entry import run_main
from conf.process import SPINS

ROOT = Path(__file__).resolve().parent.parent
CORES = os.cpu_count() or 1
OWN = 300_000  # OpenMP's own number
SETTINGS = {
    **{f"GOMP_SPINCOUNT={n}": {"GOMP_SPINCOUNT": str(n)} for n in (OWN, 10_000, SPINS, 1000, 0)},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def image_bandit() -> float:
    from algorithms.tpo import TPO
    from benchmarks.mnist import seconds_per_step

    return seconds_per_step(TPO(), 20, 100)


def sequence_task() -> float:
    from benchmarks.sequences import TERMINAL, measure

    return measure(TERMINAL, 3, int(os.environ.get("OMP_NUM_THREADS", CORES)), 0)["all"]


def language_model() -> float:
    from benchmarks.rlvr import Case, measure, read

    return measure(Case("hf", *read([], 8, 8, 16)), 5)["all"]


TASKS: dict[str, Callable[[], float]] = {task.__name__: task for task in (image_bandit, sequence_task, language_model)}


@contextmanager
def busy_cores(processes: int) -> Iterator[None]:
    """So many processes that compute without an end."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def seconds(task: str, variables: dict[str, str], repeats: int) -> float:
    """Seconds of a step of a task under these environment variables."""
    kept = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_NUM_THREADS")}
    command = [sys.executable, "-m", "benchmarks.busy", "--task", task]
    shared = {"cwd": ROOT, "env": kept | variables, "stdout": subprocess.PIPE, "check": True}
    runs = [subprocess.run(command, **shared) for _ in range(repeats)]
    return statistics.median(float(run.stdout) for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.busy", description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=TASKS, help="only print the seconds of a step of this task, as things are")
    parser.add_argument("--repeats", type=int, default=3, help="processes whose median counts (default: 3)")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("--repeats must be >= 1")
    if args.task:
        print(TASKS[args.task]())
        return
    heads = ("threads wait", *(f"{task}, {load}" for task in TASKS for load in ("quiet", "busy")))
    title = f"milliseconds of a step, {CORES} cores: quiet, and with a busy process on each"
    table = new_table(heads, title=title, box=None)
    console = Console(width=160)
    for name, variables in SETTINGS.items():
        cells = []
        for task in TASKS:
            for processes in (0, CORES):
                with busy_cores(processes):
                    cells.append(f"{1e3 * seconds(task, variables, args.repeats):.1f}")
        console.print(name, *cells, highlight=False)
        table.add_row(name, *cells)
    console.print(table)


if __name__ == "__main__":
    sys.exit(run_main(main))
