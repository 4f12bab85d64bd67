"""One experiment from claim to stored result: skip what is done, resume what is not, lose nothing."""

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from store.provenance import provenance
from store.runs import Run, RunBusy, RunStore
from training import checkpoint
from training.loop import History, Trainer
from training.noise import Noise
from training.progress import Reporter


@dataclass(frozen=True)
class Outcome:
    """What became of one experiment: "done", "skipped", "busy", "failed" or "refused", and why."""

    label: str
    status: str
    run: Run | None = None
    seeds: tuple[int, ...] = ()
    seconds: float = 0.0
    message: str = ""


def execute(experiment, console: Console) -> Outcome:
    """Train the seeds that the store lacks; a failure is recorded there and returned, not raised."""
    run = RunStore(experiment.runs_dir).open(experiment.config)
    label = f"{experiment.config['algo']['label']} on {experiment.config['env']['name']}"
    outcome = Outcome(label, "skipped", run, experiment.seeds)
    try:
        with run.claim():
            done = set() if experiment.force else set(run.seeds_done())
            missing = tuple(seed for seed in experiment.seeds if seed not in done)
            if len(missing) < len(experiment.seeds):
                skipped = len(experiment.seeds) - len(missing)
                console.print(
                    f"{label}: {skipped} of {len(experiment.seeds)} seeds done already, skipped", soft_wrap=True
                )
            if not missing:
                return outcome
            seconds = _train(experiment, missing, run, label, console)
            return Outcome(label, "done", run, experiment.seeds, seconds)
    except RunBusy:
        console.print(f"{label}: another process is running it, skipped ({run.path})", soft_wrap=True)
        return Outcome(label, "busy", run, experiment.seeds)
    except Exception as error:
        run.fail(error)
        console.print(f"{label}: failed: {error}", style="red", soft_wrap=True, markup=False)
        return Outcome(label, "failed", run, experiment.seeds, message=f"{type(error).__name__}: {error}")


def build(experiment, seeds: tuple[int, ...]) -> Trainer:
    """A fresh trainer for `seeds`."""
    noise = Noise(seeds, experiment.device)
    policy = experiment.model.build(experiment.env.spec, noise).to(experiment.device)
    optimizer = experiment.optim.build(policy)
    return Trainer(experiment.env, policy, experiment.objective, optimizer, noise, experiment.train, experiment.sampler)


def _train(experiment, seeds: tuple[int, ...], run: Run, label: str, console: Console) -> float:
    run.update(status="running", traceback=None)
    trainer = build(experiment, seeds)
    if experiment.force:
        run.checkpoint.unlink(missing_ok=True)
    start = time.monotonic() - checkpoint.restore(run.checkpoint, trainer)
    if trainer.step:
        console.print(f"{label}: resumed at step {trainer.step}", soft_wrap=True)
    try:
        with experiment.tracker.open(experiment.config, run.path) as mirror, Reporter(label, console) as report:

            def after_step(t: Trainer) -> None:
                report(t)
                mirror(t.history)
                if t.step % t.cfg.checkpoint_every == 0 and t.step < t.cfg.steps:
                    checkpoint.save(run.checkpoint, t, time.monotonic() - start)

            trainer.run(after_step)
    except KeyboardInterrupt:
        # the step may be half done, so the newest checkpoint stays as it is
        run.update(status="interrupted")
        raise
    seconds = time.monotonic() - start
    batch = {"seeds": list(seeds), "seconds": round(seconds, 3), "device": device_name(experiment.device)}
    batch |= {"frozen": trainer.frozen(), "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **provenance(run)}
    run.save(to_frame(trainer.history, seeds), batch)
    for seed, step in trainer.frozen().items():
        console.print(f"{label}: seed {seed} turned non-finite at step {step} and was frozen there", soft_wrap=True)
    return seconds


def to_frame(history: History, seeds: tuple[int, ...]) -> pd.DataFrame:
    """The long form that the store keeps: seed, step, metric, value."""
    steps = np.repeat(np.asarray(history.steps, dtype=np.int32), len(seeds))
    columns = np.tile(np.asarray(seeds, dtype=np.int64), len(history.steps))
    parts = [
        pd.DataFrame({"seed": columns, "step": steps, "metric": name, "value": values.reshape(-1)})
        for name, values in history.arrays().items()
    ]
    return pd.concat(parts, ignore_index=True)


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({torch.get_num_threads()} threads)"
