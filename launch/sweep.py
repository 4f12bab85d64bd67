"""Launches the jobs of a sweep in rounds. A run that another process holds is tried again later."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, open_dict

from conf.messages import ConfigError, duration
from conf.values import device_of, parse_section
from launch import failures
from launch.forecast import predict
from launch.job import outcomes, resolve_or_refuse, screen
from launch.kinds import LAUNCHES, Joblib, Serial, Slurm
from launch.watch import POLL_SECONDS, Job, Watch
from store.runs import RunBusy, RunStore
from training.experiment import Outcome

ROOT = Path(__file__).resolve().parent.parent
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def prepare(config: DictConfig) -> None:
    """Fill in the number of workers, and set the environment that they inherit; raises ConfigError."""
    launch = parse_section(config, "launch", LAUNCHES)
    if isinstance(launch, Serial):
        return
    if isinstance(launch, Slurm) and not shutil.which("sbatch"):
        raise ConfigError("launch=slurm: this machine has no sbatch; start it where SLURM is or use launch=slurm_local")
    if launch.workers is None and device_of(config.device).type == "cuda":
        launch = replace(launch, workers=1)  # more processes on one GPU take turns
    config.launch.workers = launch.at_once
    prepare_workers(launch.threads)


def prepare_workers(threads: int) -> None:
    """Set what processes started from here inherit: their number of threads, and where the code is."""
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    # a worker imports the code that launched it, not a copy that is installed
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


class Sweep:
    """Every job of a grid, until each has an outcome."""

    def __init__(self, overrides: Sequence[list[str]], configs: Sequence[DictConfig], launcher: Launcher, size: int):
        self.launcher, self.size, self.console = launcher, size, screen()
        self.launch = parse_section(configs[0], "launch", LAUNCHES)
        self.folder = Path(str(configs[0].runs_dir)) / ".sweeps"
        self.jobs = [_job(asked, config) for asked, config in zip(overrides, configs, strict=True)]

    def run(self) -> None:
        """Launch the jobs in rounds; `outcomes` then holds one of each."""
        if not self.launch.keep_going and any(job.outcome is None for job in self.jobs):
            failures.watch(self.folder)
        try:
            self._run_rounds()
        finally:
            failures.ignore()
        if type(self.launch) is Joblib:
            _end_idle_workers()
        outcomes[:] = [job.outcome for job in self.jobs]

    def _run_rounds(self) -> None:
        self._forecast()
        self.watch = Watch(self.jobs, self.console, self._at_once([job for job in self.jobs if job.outcome is None]))
        while left := [job for job in self.jobs if job.outcome is None or job.outcome.status == "busy"]:
            ready = self._ready(left)
            together = [job for job in ready if not job.suspect]
            for start in range(0, len(together), self.size):
                self._launch(together[start : start + self.size])
            for job in ready:
                if job.suspect:
                    self._launch([job])

    def _forecast(self) -> None:
        todo, forecast = [job for job in self.jobs if job.outcome is None], ""
        # a language model is slow to load, and how long its completions will be is not known
        if todo and not isinstance(self.launch, Slurm) and all(job.experiment.model.stacked for job in todo):
            if not isinstance(self.launch, Serial):
                torch.set_num_threads(self.launch.threads)
            for job in todo:
                job.predicted = 0.0
                with suppress(Exception, SystemExit):  # a job that fails fails again in its turn, and is reported there
                    job.predicted = predict(job.experiment, job.missing)
            total = sum(job.predicted for job in todo) / self._at_once(todo)
            forecast = f": about {duration(total)} on this machine"
        self.console.print(f"{len(self.jobs)} jobs, {len(todo)} to train{forecast}", soft_wrap=True)

    def _at_once(self, jobs: list[Job]) -> int:
        return min(self.launch.at_once, max(len(jobs), 1))

    def _ready(self, left: list[Job]) -> list[Job]:
        """The jobs that nobody holds, as far as is known; where all are held, wait for the first that is not."""
        ready = [job for job in left if job.outcome is None or not job.run.is_busy()]
        if not ready:
            held = ", ".join(str(job.run.path) for job in left)
            self.console.print(f"waiting for another process to finish {held}", soft_wrap=True, highlight=False)
        while not ready:
            time.sleep(POLL_SECONDS)
            self.watch.report()
            ready = [job for job in left if not job.run.is_busy()]
        return ready

    def _launch(self, batch: list[Job]) -> None:
        for job in batch:
            job.outcome = None if job.missing else _skipped(job)
        batch = [job for job in batch if job.outcome is None]
        if not batch:
            return
        try:
            with ctrl_c_is_kept(), self.watch.live() if len(batch) > 1 else nullcontext():
                returns = self.launcher.launch([job.overrides for job in batch], self.jobs.index(batch[0]))
            for job, returned in zip(batch, returns, strict=True):
                job.outcome = returned.return_value
        except Exception as error:  # a worker died, and the launcher says nothing of the others
            self._recover(batch, error)
        self.watch.report()

    def _recover(self, batch: list[Job], error: Exception) -> None:
        for job in batch:
            job.outcome = _stored(job, error)
        if not any(job.suspect or (job.outcome and job.outcome.status != "busy") for job in batch):
            for job in batch:
                job.outcome = job.outcome or Outcome(job.label, "failed", message=f"was not started: {_line(error)}")


def _end_idle_workers() -> None:
    """End joblib's processes, which would keep the folder and the environment of this sweep for the next one."""
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)


@contextmanager
def ctrl_c_is_kept() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end if Ctrl-C came, even if a launcher lost it when its workers died of it."""
    came = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception:
        if not came:
            raise
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _job(overrides: list[str], config: DictConfig) -> Job:
    HydraConfig.instance().set_config(config)  # messages name the files that were typed
    with open_dict(config):
        del config["hydra"]
    planned = resolve_or_refuse(config)
    if isinstance(planned, Outcome):
        return Job(overrides, None, planned)
    job = Job(overrides, planned)
    job.outcome = None if job.missing else _skipped(job)
    return job


def _stored(job: Job, error: Exception) -> Outcome | None:
    """The stored outcome of a job whose launch broke; None: try again, alone where it may have been the cause."""
    state = job.state
    if state == "done" or not job.missing:
        return _outcome(job, "done")
    if state == "running":
        return _outcome(job, "busy")
    if state == "failed":
        return _outcome(job, "failed", job.run.manifest()["error"])
    if state == "died" and job.suspect:
        with suppress(RunBusy), job.run.claim():
            job.run.fail(error)
        return _outcome(job, "failed", f"its process died twice: {_line(error)}")
    job.suspect = state == "died"
    return None


def _skipped(job: Job) -> Outcome:
    with suppress(RunBusy), job.run.claim():
        RunStore(job.experiment.runs_dir).open(job.experiment.config)  # writes a damaged config anew
        job.run.repair_manifest()
    return _outcome(job, "skipped")


def _outcome(job: Job, status: str, message: str = "") -> Outcome:
    return Outcome(job.label, status, job.run, job.experiment.seeds, message=message)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
