"""Where the jobs of a sweep run, how many at once, and with how many threads each.

`keep_going`: train the other jobs even after the first three failed in one place.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from algorithms.base import require

MOST_PER_CORE = 32  # processes; more would only fill the memory
NICE = "from 0 (normal) to 19 (lowest priority)"


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Serial:
    """One job after the other in this process, with the threads that torch takes by itself."""

    name = "serial"
    at_once = 1

    nice: int = 0
    keep_going: bool = False

    def __post_init__(self):
        require(0 <= self.nice <= 19, "nice", self.nice, NICE)


@dataclass(frozen=True)
class Joblib:
    """`workers` processes on this machine share its cores: threads of each = max(1, cores // workers)."""

    name = "joblib"

    workers: int | None = None
    nice: int = 0
    keep_going: bool = False

    def __post_init__(self):
        require(0 <= self.nice <= 19, "nice", self.nice, NICE)
        fits = self.workers is None or 1 <= self.workers <= MOST_PER_CORE * cores()
        require(fits, "workers", self.workers, f"null or >= 1, at most {MOST_PER_CORE} for each core")

    @property
    def at_once(self) -> int:
        return self.workers or cores()

    @property
    def threads(self) -> int:
        return max(1, cores() // self.at_once)


@dataclass(frozen=True)
class SlurmLocal(Joblib):
    """The processes that SLURM would start, on this machine, `workers` at a time."""

    name = "slurm_local"


@dataclass(frozen=True)
class Slurm:
    """An array of SLURM jobs, at most `workers` at once, each with `threads` cores."""

    name = "slurm"

    workers: int = 64
    threads: int = 1
    keep_going: bool = False

    def __post_init__(self):
        require(self.workers >= 1, "workers", self.workers, ">= 1")
        require(self.threads >= 1, "threads", self.threads, ">= 1")

    @property
    def at_once(self) -> int:
        return self.workers


LAUNCHES = {launch.name: launch for launch in (Serial, Joblib, SlurmLocal, Slurm)}


def lower_priority(nice: int, session: bool = False) -> None:
    """Give this process, and those that it starts, a priority as low as `nice` (0 normal, 19 lowest).

    Linux shares the processor between sessions first and only then by `nice`, so a process that leads a `session` of
    its own gives that one the same priority.
    """
    if hasattr(os, "nice"):
        os.nice(max(0, nice - os.nice(0)))
    group = Path("/proc/self/autogroup")
    if session and group.exists():
        with suppress(OSError):  # a system that does not allow it keeps the priority of the process
            group.write_text(str(nice))
