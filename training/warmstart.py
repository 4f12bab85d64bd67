"""Warm starts: supervised training on right answers up to a chosen accuracy, before RLVR. Each is stored."""

import dataclasses
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from rich.console import Console
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from envs.rlvr.base import Problem, TextEnv
from models.base import Policy
from store.identity import identity
from training import distributed
from training.clipped_adamw import AdamWClippedConfig
from training.evaluation import evaluate
from training.noise import Noise
from training.samplers.completions import pad_prompts
from training.stop import Stop, Stopped

log = logging.getLogger(__name__)
EVALUATE_EVERY, EVALUATION_PROBLEMS = 5, 512  # steps between two evaluations (accuracy jumps), and problems in each
LR_WARMUP_STEPS = 50
WAIT_SECONDS = 1.0
PROGRESS_SECONDS = 5.0  # between two lines of progress
IRRELEVANT = ("batch", "candidates")  # settings of a task that do not change its warm start


def target_accuracy(experiment) -> float:
    """The accuracy at which the warm start of this model ends; 0 if it has none."""
    wanted = getattr(experiment.model, "warm_accuracy", 0.0)
    return experiment.env.warm_accuracy if wanted is None else wanted


def warm_start_folder(experiment) -> Path:
    """Folder of the warm start: runs_dir/warm_starts/<env>-<hash of all settings that it depends on>."""
    env = {k: v for k, v in identity(experiment.config)["env"].items() if k not in IRRELEVANT}
    recipe = experiment.model.warm_start_settings() | {"warm_accuracy": target_accuracy(experiment)}
    made_by = json.dumps({"env": env, "model": recipe}, sort_keys=True)
    name = f"{env['name']}-{hashlib.sha256(made_by.encode()).hexdigest()[:12]}"
    return experiment.runs_dir / "warm_starts" / name


def with_warm_start(experiment, console: Console, stop: Stop | None = None):
    """The experiment with its model replaced by its warm start, which is trained first if it is not stored yet.

    Raises Stopped when `stop` is due; a warm start has no checkpoint, so the next one starts again.
    """
    folder = warm_start_folder(experiment)
    folder.parent.mkdir(parents=True, exist_ok=True)
    stop = stop or Stop()
    with _held(FileLock(f"{folder}.lock"), stop):  # a second process waits for the first one to make it
        made = _facts(folder)
        if made is None:
            _make(experiment, folder, console, stop)
            made = _facts(folder)
    found = f"{made['accuracy']:.1%} of sampled validation answers right"
    took = f"{made['steps']} steps, {made['seconds']:.0f} s"
    console.print(f"warm start: {folder}, {found} after {took}", soft_wrap=True)
    return dataclasses.replace(experiment, model=experiment.model.with_weights_from(folder))


@contextmanager
def _held(lock: FileLock, stop: Stop) -> Iterator[None]:
    """Hold a lock as soon as it is free; raises Stopped."""
    while True:
        try:
            lock.acquire(timeout=WAIT_SECONDS)
            break
        except Timeout:
            if stop.due:
                raise Stopped(stop.signal) from None
    try:
        yield
    finally:
        lock.release()


def _facts(folder: Path) -> dict[str, Any] | None:
    """How a warm start was made; None where there is none. A damaged one is named and set aside."""
    path = folder / "warm_start.json"
    if not folder.exists():
        return None
    try:
        made = json.loads(path.read_text())
        return {key: made[key] for key in ("accuracy", "steps", "seconds")}
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        aside = folder.with_name(f"{folder.name}.damaged-{time.time_ns()}")
        log.warning("%s is damaged: its folder is kept as %s, and a new one is made", path, aside)
        folder.rename(aside)
        return None


def _make(experiment, folder: Path, console: Console, stop: Stop) -> None:
    model, noise = experiment.model, Noise((experiment.model.warm_seed,), experiment.device)
    plain = dataclasses.replace(
        model, dtype="float32", rollout_dtype=None, lora_rank=None, engine="hf", gradient_checkpointing=False
    )
    policy = plain.build(experiment.env.spec, noise).to(experiment.device)
    start = time.monotonic()
    with distributed.single_process():
        accuracy, steps = train_supervised(
            experiment.env, policy, noise, model, target_accuracy(experiment), console, stop
        )
    made = {
        "accuracy": accuracy,
        "steps": steps,
        "seconds": time.monotonic() - start,
        "settings": model.warm_start_settings(),
    }
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    policy.export(draft)
    (draft / "warm_start.json").write_text(json.dumps(made, indent=1))
    draft.rename(folder)


def train_supervised(
    env: TextEnv, policy: Policy, noise: Noise, cfg, wanted: float, console: Console, stop: Stop
) -> tuple[float, int]:
    """Train on right answers until sampled validation accuracy reaches `wanted`, or for cfg.warm_steps steps.

    Returns the accuracy and the number of steps; raises Stopped.
    """
    optimizer = AdamWClippedConfig(lr=cfg.warm_lr, warmup_steps=LR_WARMUP_STEPS).build(policy)
    alive = torch.ones(1, dtype=torch.bool, device=noise.device)
    problems = env.problems("train")
    accuracy, start, shown = 0.0, time.monotonic(), time.monotonic()
    for step in range(1, cfg.warm_steps + 1):
        if stop.due:
            console.print(f"warm start: stopped before step {step}; the next command starts it again", soft_wrap=True)
            raise Stopped(stop.signal)
        chosen = [problems[i] for i in env.drawn(noise.at_step(step), "warm", cfg.warm_batch)[0].tolist()]
        prompts, answers = right_answer_tokens(env, policy, chosen)
        loss = -policy.logp(prompts.to(noise.device), answers.to(noise.device)).sum() / (answers >= 0).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(alive, optimizer.grad_norm())
        if step % EVALUATE_EVERY == 0 or step == cfg.warm_steps:
            found = evaluate(env, policy, noise.at_step(step), "validation", EVALUATION_PROBLEMS, greedy=False)
            accuracy = found.metrics["validation_accuracy"].item()
        if time.monotonic() - shown > PROGRESS_SECONDS or accuracy >= wanted:
            shown = time.monotonic()
            console.print(
                f"warm start: step {step} of at most {cfg.warm_steps}, loss {loss.item():.3f} nats per token, "
                f"{accuracy:.1%} right of {wanted:.0%} wanted, {shown - start:.0f} s",
                soft_wrap=True,
            )
        if accuracy >= wanted:
            return accuracy, step
    console.print(
        f"warm start: {accuracy:.1%} right after model.warm_steps={cfg.warm_steps}, less than "
        f"the {wanted:.1%} wanted; it is used as it is",
        soft_wrap=True,
    )
    return accuracy, cfg.warm_steps


def right_answer_tokens(env: TextEnv, policy: Policy, problems: list[Problem]) -> tuple[Tensor, Tensor]:
    """Prompts (1,B,P), padded on the left by -1, and right answers (1,B,1,T) with eos, padded on the right by -1."""
    tokenizer = policy.tokenizer
    prompts = [env.encode(problem, tokenizer) for problem in problems]
    answers = [tokenizer(p.answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id] for p in problems]
    padded = pad_sequence([torch.tensor(answer) for answer in answers], batch_first=True, padding_value=-1)
    return pad_prompts(prompts), padded[None, :, None]
