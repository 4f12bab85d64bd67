"""python -m benchmarks.sweeps: a sweep of single-thread jobs, serial against two joblib workers.

Beside it, how much faster two processes with nothing in common are than one: what the machine can give just now.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from benchmarks.tables import new_table
from conf.entry import run_main

ROOT = Path(__file__).resolve().parent.parent
JOBS = ("algo=tpo,grpo,dg,pg", "env=contextual_bandit", "seeds=20", "train.log_every=50", "optim.lr=0.1,0.05")
WORKERS = 2


def sweep_seconds(steps: int, *launch: str) -> float:
    """Wall seconds of the whole command, imports and curves included."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "run.py", "-m", *JOBS, f"train.steps={steps}", *launch, f"runs_dir={folder}"]
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, check=True)
        return time.perf_counter() - start


def count(n: int) -> int:
    return sum(range(n))


def attainable_speedup(n: int = 50_000_000) -> float:
    """Work per second of two processes that share nothing, relative to one."""
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        pool.map(count, [1] * WORKERS)
        start = time.perf_counter()
        pool.apply(count, (n,))
        one = time.perf_counter() - start
        pool.map(count, [n] * WORKERS, chunksize=1)
        return WORKERS * one / (time.perf_counter() - start - one)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.sweeps", description=__doc__)
    parser.add_argument("--steps", type=int, default=8000, help="steps of each of the eight jobs (default: 8000)")
    parser.add_argument("--repeats", type=int, default=1, help="pairs of sweeps, one after the other (default: 1)")
    args = parser.parse_args()
    if args.steps < 1 or args.repeats < 1:
        parser.error("--steps and --repeats must be >= 1")
    heads = ("serial, s", f"{WORKERS} workers, s", "faster", "attainable now", "load before")
    title = f"8 jobs of {args.steps} steps, one thread each"
    table = new_table(heads, names=0, title=title, title_justify="left")
    for _ in range(args.repeats):
        load, limit = os.getloadavg()[0], attainable_speedup()
        serial = sweep_seconds(args.steps)
        parallel = sweep_seconds(args.steps, "launch=joblib", f"launch.workers={WORKERS}")
        cells = (f"{serial:.1f}", f"{parallel:.1f}", f"{serial / parallel:.2f}x", f"{limit:.2f}x", f"{load:.1f}")
        table.add_row(*cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(run_main(main))
