"""Measures in several processes at once, each with its share of the cores, as the workers of a sweep train."""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

import torch

from launch.kinds import Joblib


def measure_at_once(
    measure: Callable[..., Any], jobs: list[tuple], workers: int, prepare: Callable[[], Any]
) -> tuple[list[Any], float]:
    """Results of measure(*job) for each job, and the seconds until the last was there, without the start of processes.

    workers  processes, each with as many threads as `launch=joblib` gives it
    prepare  what each process runs before the clock starts
    """
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers + 1)
    with context.Pool(workers, _start, (ready, Joblib(workers=workers).threads, prepare)) as pool:
        ready.wait()
        start = time.perf_counter()
        results = pool.starmap(measure, jobs, chunksize=1)
        return results, time.perf_counter() - start


def _start(ready: Barrier, threads: int, prepare: Callable[[], Any]) -> None:
    torch.set_num_threads(threads)
    prepare()
    ready.wait()
