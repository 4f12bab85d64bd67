"""Runs one experiment: it claims the run, trains the seeds that are missing, and stores their metrics."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from rich.console import Console

from models import pretrained
from store.failure import describe, locate
from store.provenance import provenance
from store.runs import Run, RunBusy, RunStore
from store.tracked import Tracked
from store.trackers import tracking
from training import checkpoint, checks, distributed, warmstart
from training.advice import advise_on_changed_model, advise_on_rollout_dtype, advise_on_threads
from training.loop import Trainer
from training.memory import TooLittleMemoryError, require_memory
from training.noise import Noise
from training.progress import Reporter
from training.samplers import sampler_name
from training.stop import Stop, Stopped

CACHED_TOKENS = 16000  # of the paper's transformer, found with python -m benchmarks.sequences


@dataclass(frozen=True)
class Outcome:
    """The result of one experiment: its status, and a message where it was not trained.

    status  "done" | "skipped" (all seeds were done before) | "busy" (another process is running it) | "failed" |
            "stopped" (a sweep ended before it began) | "refused" (the config is invalid) | "unfit" (algorithm and
            environment do not fit) | "followed" (a process of rank > 0, which stores nothing)
    """

    label: str
    status: str
    run: Run | None = None
    seeds: tuple[int, ...] = ()
    message: str = ""
    place: str | None = None  # file and line where it failed

    @property
    def complaint(self) -> str:
        """One line about an outcome that is no success."""
        where = f" (traceback: {self.run.traceback})" if self.run and self.status == "failed" else ""
        return f"{self.status}: {self.label}: {self.message}{where}"


def execute(experiment, console: Console, stop: Stop | None = None) -> Outcome:
    """Train the seeds that the store lacks. A failure is recorded in the store and returned, not raised.

    Raises Stopped when `stop` is due, after a checkpoint.
    """
    distributed.initialize(experiment.device)
    label, stop = experiment.label, stop or Stop()
    if distributed.rank() > 0:
        return _train_as_follower(experiment)
    if experiment.train.phase == "sft":
        return _warm_start(experiment, console, stop)
    run = RunStore(experiment.runs_dir).open(experiment.config)
    announced = False  # the other processes know which blocks of seeds to train
    try:
        with run.claim(), _failures_recorded(run, experiment):
            done = set() if experiment.force else set(run.seeds_done())
            missing = tuple(seed for seed in experiment.seeds if seed not in done)
            wanted = len(experiment.seeds)
            if len(missing) < wanted:
                skipped = f"{wanted - len(missing)} of {wanted} seeds done already, skipped"
                console.print(f"{label}: {skipped}", soft_wrap=True)
                _print_lines(console, advise_on_changed_model(experiment.model, run.manifest().get("batches", [])))
            if not missing:
                run.repair_manifest()
                distributed.broadcast(())
                return Outcome(label, "skipped", run, experiment.seeds)
            if experiment.env.spec.is_text:
                _print_lines(console, advise_on_threads(experiment.device))
            with stop.listening():
                if warmstart.target_accuracy(experiment):
                    experiment = warmstart.with_warm_start(experiment, console, stop)
                _announce(experiment, console)
                planned = _resumable_first(experiment, missing, run)
                distributed.broadcast(planned)
                announced = True
                for block in planned:
                    _train(experiment, block, run, console, stop)
            if stop.signal:  # it came in the last step, and the command may have more to do
                raise Stopped(stop.signal)
            return Outcome(label, "done", run, experiment.seeds)
    except RunBusy:
        distributed.broadcast(())
        console.print(f"{label}: another process is running it, skipped ({run.path})", soft_wrap=True)
        return Outcome(label, "busy", run, experiment.seeds, f"another process is running it ({run.path})")
    except (Exception, SystemExit) as error:  # a class of the user's own may call sys.exit
        if not announced:
            distributed.broadcast(())
        return replace(_failed(label, error, console), run=run, seeds=experiment.seeds)


def _warm_start(experiment, console: Console, stop: Stop) -> Outcome:
    """Train the warm start of a model alone."""
    label = f"warm start for {experiment.label}"
    try:
        with stop.listening():
            warmstart.with_warm_start(experiment, console, stop)
        if stop.signal:  # it came in the last step, and the command may have more to do
            raise Stopped(stop.signal)
    except (Exception, SystemExit) as error:
        return _failed(label, error, console)
    return Outcome(label, "done")


def _failed(label: str, error: BaseException, console: Console) -> Outcome:
    console.print(f"{label}: failed: {error}", style="red", soft_wrap=True)
    return Outcome(label, "failed", message=describe(error), place=locate(error.__cause__ or error))


def _announce(experiment, console: Console) -> None:
    """Say what is to be known of a model before it is loaded; raises TooLittleMemoryError where it does not fit."""
    train, objective = experiment.train, experiment.objective
    keeps_reference = bool(train.kl_beta) or objective.needs_reference
    memory = require_memory(experiment.model, keeps_reference, experiment.device, train.staleness)
    advice = advise_on_rollout_dtype(experiment.model, experiment.device)
    _print_lines(console, experiment.model.remark(), memory, advice)


def _print_lines(console: Console, *lines: str) -> None:
    """Print those that are not empty."""
    for line in filter(None, lines):
        console.print(line, soft_wrap=True, highlight=False)


@contextmanager
def _failures_recorded(run: Run, experiment) -> Iterator[None]:
    """Store an error in the run, while the run is still claimed. Out of memory is stored with the settings to lower."""
    try:
        yield
    except (Exception, SystemExit) as error:
        explained = explain_out_of_memory(error, experiment)
        run.fail(explained)
        raise explained from explained.__cause__


def _train_as_follower(experiment) -> Outcome:
    """Train together with the process of rank 0, without storing or printing anything."""
    try:
        planned = () if experiment.train.phase == "sft" else distributed.broadcast(None)
        if planned and warmstart.target_accuracy(experiment):
            experiment = warmstart.with_warm_start(experiment, Console(quiet=True))
        for block in planned:
            _synchronize(build(experiment, block)).run()
    except (Exception, SystemExit) as error:
        error = explain_out_of_memory(error, experiment)
        return Outcome(experiment.label, "failed", message=f"process {distributed.rank()}: {describe(error)}")
    return Outcome(experiment.label, "followed")


def _synchronize(trainer: Trainer) -> Trainer:
    """The trainer in the state of the process of rank 0, if that one resumed from a checkpoint."""
    if distributed.broadcast(bool(trainer.history.values)):
        file = io.BytesIO()
        if distributed.rank() == 0:
            torch.save(trainer.state_dict(), file)
        state = distributed.broadcast(file.getvalue())
        if distributed.rank() > 0:
            state = torch.load(io.BytesIO(state), map_location=trainer.noise.device, weights_only=True)
            trainer.load_state_dict(state)
    return trainer


def explain_out_of_memory(error: BaseException, experiment) -> BaseException:
    """An error that names the settings to lower if memory ran out, else the error itself."""
    # the allocator for the CPU and some libraries for CUDA raise a bare RuntimeError
    said = any(text in str(error) for text in ("allocate memory", "out of memory", "ALLOC_FAILED"))
    out_of_memory = said or isinstance(error, torch.OutOfMemoryError | MemoryError)
    if not out_of_memory or isinstance(error, TooLittleMemoryError):  # the latter says what to do itself
        return error
    sizes = {"train.seed_block": len(blocks(experiment, experiment.seeds)[0])}
    counts = ("candidates", "batch", "horizon", "vocab", "arms", "num_contexts", "max_new_tokens")
    sizes |= {f"env.{key}": getattr(experiment.env, key, 1) for key in counts}
    if experiment.env.spec.is_text:
        sizes |= {f"train.{key}": getattr(experiment.train, key) for key in ("eval_problems", "eval_samples")}
    sizes |= {f"model.{key}": getattr(experiment.model, key, 1) for key in ("d_model", "rollout_rows")}
    lower = " or ".join(f"{key} (now {value})" for key, value in sizes.items() if value > 1)
    if experiment.env.spec.tokens_per_rollout:
        lower += f", or set train.micro_batch (now {experiment.train.micro_batch or 'null'})"
    if not experiment.model.stacked:
        lower += ", model.lora_rank or model.gradient_checkpointing"
    explained = MemoryError(f"out of memory on {experiment.device}: lower {lower}")
    explained.__cause__ = error
    return explained


def build(experiment, seeds: tuple[int, ...]) -> Trainer:
    """A trainer for `seeds` before its first step; raises what `check_alphabet` and `check_training_prompts` raise."""
    noise = Noise(seeds, experiment.device)
    # TRL trains weights in float32, and computes in the precision that model.dtype says
    model = experiment.model if experiment.engine == "suite" else replace(experiment.model, dtype="float32")
    policy = model.build(experiment.env.spec, noise).to(experiment.device)
    if experiment.env.spec.is_text:
        checks.check_alphabet(experiment.env, policy.tokenizer)
        checks.check_training_prompts(experiment.env, policy)
    optimizer, train = experiment.optim.build(policy), experiment.train
    parts = experiment.env, policy, experiment.objective, optimizer, noise, train, experiment.sampler
    if experiment.engine == "suite":
        return Trainer(*parts)
    from engines.trl_training import TRLTraining

    return TRLTraining(*parts, model=experiment.model)


def blocks(experiment, seeds: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The seeds in blocks that train together.

    On a CPU a block of strings has CACHED_TOKENS tokens in a rollout, since activations that do not fit into a
    processor's cache cost more than small matrix products do.
    """
    sampler = sampler_name(experiment.env, experiment.objective, experiment.sampler)
    tokens = experiment.env.spec.tokens_per_rollout.get(sampler)
    size = experiment.train.seed_block if experiment.model.stacked else 1
    if size is None and tokens and experiment.device.type == "cpu":
        size = max(1, CACHED_TOKENS // tokens)
    return [seeds[i : i + (size or len(seeds))] for i in range(0, len(seeds), size or len(seeds))]


def _resumable_first(experiment, missing: tuple[int, ...], run: Run) -> list[tuple[int, ...]]:
    """The missing seeds in blocks. Those of a checkpoint are the first block, since the next save replaces it."""
    found, begun = blocks(experiment, missing), () if experiment.force else checkpoint.seeds(run)
    if not begun or not set(begun) <= set(missing) or len(begun) > len(found[0]):
        return found
    rest = tuple(seed for seed in missing if seed not in begun)
    return [begun, *(blocks(experiment, rest) if rest else ())]


def _named(seeds: tuple[int, ...]) -> str:
    """Seeds for a reader: "seed 3", "seeds 3 to 7" or "seeds 3, 7"."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    in_a_row = seeds == tuple(range(seeds[0], seeds[0] + len(seeds)))
    return f"seeds {seeds[0]} to {seeds[-1]}" if in_a_row else f"seeds {', '.join(map(str, seeds))}"


def _train(experiment, seeds: tuple[int, ...], run: Run, console: Console, stop: Stop) -> None:
    label = experiment.label
    run.update(status="running", error=None)
    made_by, trainer = provenance(run) | _weights_trained(experiment), build(experiment, seeds)
    weights = made_by.get("model")
    if experiment.force:
        run.drop_checkpoints()
    start = time.monotonic() - checkpoint.restore(run, trainer, weights)
    schedule = checkpoint.Schedule(trainer.cfg.checkpoint_every)
    _synchronize(trainer)
    if trainer.step:
        console.print(f"{label}: resumed at step {trainer.step}", soft_wrap=True)
    elif experiment.env.spec.is_text and not trainer.history.values:
        console.print(f"{label}: an evaluation comes before the first step", soft_wrap=True)
    try:
        title = label if len(seeds) == len(experiment.seeds) else f"{label}, {_named(seeds)}"
        tracked = Tracked(experiment.config, run.path, seeds, experiment.sweep, trainer.step)
        with tracking(experiment.tracker, tracked) as log_metrics, Reporter(title, console) as report:

            def after_step(t: Trainer) -> None:
                if t.step:
                    report(t)
                log_metrics(t.history)
                run.add_samples(t.take_samples())
                stopping = stop.due
                if t.step < t.cfg.steps and (stopping or (t.step and schedule.due(t.step))):
                    with schedule.saving():
                        checkpoint.save(run, t, time.monotonic() - start, weights)
                    if stopping:
                        raise Stopped(stop.signal)

            trainer.run(after_step)
    except KeyboardInterrupt:
        # unless it was Stopped, the step may be half done, so the newest checkpoint stays as it is
        run.update(status="interrupted")
        raise
    finally:
        trainer.policy.close()
    seconds = time.monotonic() - start
    trainer.policy.export(run.path / "policy" / f"seed_{seeds[0]}")
    batch = {"seeds": list(seeds), "seconds": round(seconds, 3), "device": device_name(experiment.device)}
    batch |= {} if experiment.engine == "suite" else {"engine": experiment.engine}
    batch |= {"frozen": trainer.frozen_seeds(), "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **made_by}
    run.save(trainer.history.frame(seeds), batch)
    for seed, step in trainer.frozen_seeds().items():
        cause = trainer.cause_of_loss(seed)
        frozen = f"seed {seed} turned non-finite at step {step} ({cause}) and was frozen there"
        console.print(f"{label}: {frozen}", soft_wrap=True)


def _weights_trained(experiment) -> dict[str, str]:
    """The digest of the folder that the model was read from, where it has one."""
    digest = pretrained.digest(experiment.config["model"].get("path"))
    return {"model": digest} if digest else {}


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({torch.get_num_threads()} threads)"
