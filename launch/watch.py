"""The outcome of each job, read from the store, where other processes and other launches leave their traces."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from conf.messages import duration
from conf.resolve import Experiment
from store.runs import RunStore
from training.experiment import Outcome

POLL_SECONDS = 0.5


@dataclass(eq=False)
class Job:
    """One job of a sweep; `experiment` is None where the config was turned down."""

    overrides: list[str]
    experiment: Experiment | None
    outcome: Outcome | None = None
    predicted: float | None = None  # seconds that it takes alone; None: unknown
    ended: str | None = None
    suspect: bool = False  # its process died: the next try is alone

    def __post_init__(self):
        self.run = None if self.experiment is None else RunStore(self.experiment.runs_dir).find(self.experiment.config)
        self.before = self.run and self.run.manifest_version()

    @property
    def label(self) -> str:
        return self.experiment.label

    @property
    def missing(self) -> tuple[int, ...]:
        """The seeds that are still to be trained."""
        done = () if self.experiment.force else self.run.seeds_done()
        return tuple(seed for seed in self.experiment.seeds if seed not in done)

    @property
    def state(self) -> str:
        """waiting | running | done | failed | died, since this launch began."""
        if self.run.manifest_version() == self.before:
            return "waiting"
        if self.run.is_busy():
            return "running"
        status = self.run.manifest().get("status")
        return status if status in ("done", "failed") else "died"


class Watch:
    """Prints a line when a job ends."""

    def __init__(self, jobs: list[Job], console: Console, at_once: int):
        self.jobs = [job for job in jobs if job.outcome is None]
        self.skipped = sum(job.outcome is not None and job.outcome.status != "refused" for job in jobs)
        self.failed = len(jobs) - len(self.jobs) - self.skipped
        self.total, self.console, self.at_once = len(jobs), console, at_once
        self.start, self.lock = time.monotonic(), threading.Lock()

    def report(self) -> None:
        """One line for each job that ended since the last report."""
        with self.lock:
            states = {job: job.state for job in self.jobs if job.ended is None}
            for job, state in states.items():
                if state in ("done", "failed"):
                    job.ended = state
                    running = sum(states[other] == "running" for other in states)
                    self.console.print(f"{self._line(running)} ({job.label}: {state})", soft_wrap=True, highlight=False)

    def _line(self, running: int) -> str:
        ended = [job.ended for job in self.jobs if job.ended]
        done, failed = ended.count("done"), self.failed + ended.count("failed")
        counts = f"{done} done, {self.skipped} skipped, {failed} failed, {running} running"
        left = duration(self._seconds_left())
        return f"sweep {len(ended) + self.total - len(self.jobs)}/{self.total}: {counts}, about {left} left"

    def _seconds_left(self) -> float:
        """How long the jobs that have not ended take, at the pace so far, or near the forecast while few have ended."""
        known = all(job.predicted is not None for job in self.jobs)
        predicted = {job: job.predicted if known else 1.0 for job in self.jobs}
        finished = sum(predicted[job] for job in self.jobs if job.ended)
        rest = sum(predicted[job] for job in self.jobs if not job.ended)
        prior = rest if known else 0.0  # the forecast is in seconds: a pace of 1
        pace = ((time.monotonic() - self.start) * self.at_once + prior) / max(finished + prior, 1e-9)
        return pace * rest / self.at_once

    @contextmanager
    def live(self) -> Iterator[None]:
        """Report while other processes train."""
        over = threading.Event()

        def loop() -> None:
            while not over.wait(POLL_SECONDS):
                self.report()

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
