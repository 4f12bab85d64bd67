"""python -m benchmarks.rlvr [model=smollm2]: tokens per second and memory of rollout and update of a language model.

Completions to puzzles of Reasoning Gym; GRPO, one epoch, AdamW; each process is alone, with OMP_NUM_THREADS threads.
Rewards are the parity of a completion's characters, worked out in the trainer's process, so that every group learns.
Without model=, a small Qwen3. With --big, Qwen3-1.7B's architecture with random weights, 512 tokens, and a sweep of
micro-batches: for a GPU.
"""

import argparse
import importlib.util
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from hydra.errors import HydraException
from rich.console import Console
from rich.table import Table

from algorithms.grpo import GRPO
from benchmarks.sequences import DEVICE, Clock, peak_memory, synchronize
from benchmarks.tables import new_table
from conf.entry import run_main
from conf.messages import ConfigError, explain
from conf.resolve import compose_experiment
from envs.rlvr.gym import ReasoningGym
from envs.rlvr.verify import Grade
from launch.command_line import prepare
from models.hf import LanguageModelConfig, TinyQwen3Config
from training.clipped_adamw import AdamWClippedConfig
from training.config import TrainConfig
from training.loop import Trainer
from training.noise import Noise

MICRO_BATCHES = (64, 32, 16, 8, 4)  # completions
COLUMNS = ("case", "s / step", "CPU s / step", "rollout", "update", "drawn tokens/s", "update tokens/s", "GiB")
PUZZLES = ("env=chain_sum", "env.stop=null")


@dataclass(frozen=True)
class Parity(ReasoningGym):
    """Puzzles whose rewards even an untrained model earns."""

    def submit(self, problems, completions):
        return Graded([Grade(parity(text), False) for text in completions])


@dataclass(frozen=True)
class Graded:
    grades: list[Grade]

    def result(self) -> list[Grade]:
        return self.grades


def parity(text: str) -> float:
    return sum(map(ord, text)) % 2


@dataclass(frozen=True)
class Sized(TinyQwen3Config):
    """The same with a vocabulary of any size."""

    vocab: int | None = None

    def _load(self, spec, dtype):
        model, tokenizer = super()._load(spec, dtype)
        if self.vocab:
            model.resize_token_embeddings(self.vocab, mean_resizing=False)
        return model, tokenizer


QWEN3 = {"layers": 28, "hidden": 2048, "mlp": 6144, "heads": 16, "kv_heads": 8, "head_dim": 128, "vocab": 151_936}
BIG = Sized(**QWEN3, window=1024, gradient_checkpointing=True)


@dataclass(frozen=True)
class Case:
    """One row: a model with its engine, and completions that pass through it at once in the update (None: all)."""

    name: str
    env: Parity
    model: LanguageModelConfig
    micro_batch: int | None = None


def read(overrides: list[str], prompts: int, candidates: int, tokens: int) -> tuple[Parity, LanguageModelConfig]:
    """Puzzles and model of settings such as model=smollm2; raises ConfigError."""
    chosen = any(word.startswith("model=") for word in overrides)
    words = prepare([*PUZZLES, *([] if chosen else ["model=tiny_qwen3"]), *overrides])
    try:
        found = compose_experiment(words)
    except (HydraException, ConfigError, ValueError) as error:
        raise ConfigError(explain(error, words)) from None
    puzzles = {field.name: getattr(found.env, field.name) for field in fields(ReasoningGym)}
    puzzles |= {"batch": prompts, "candidates": candidates, "max_new_tokens": tokens}
    return Parity(**puzzles), found.model


def cases(env: Parity, model: LanguageModelConfig, micro_batches: tuple[int | None, ...]) -> list[Case]:
    """The engines as far as they are installed, with each micro-batch; hf also from a copy in bfloat16."""
    models = {"hf": model}
    if model.dtype == "float32":
        models["hf, rollouts in bfloat16"] = replace(model, rollout_dtype="bfloat16")
    if importlib.util.find_spec("vllm"):
        models["vllm"] = replace(model, engine="vllm")
    return [
        Case(name if size is None else f"{name}, micro-batch {size}", env, each, size)
        for name, each in models.items()
        for size in micro_batches
    ]


def measure(case: Case, steps: int) -> dict[str, float]:
    """Seconds per step on the clock, of the processor and of the rollout, tokens per step, and tokens drawn per second.

    The first step warms up and does not count. A rollout also has the trainer's log-probs of what the engine drew.
    """
    noise = Noise((0,), DEVICE)
    policy = case.model.build(case.env.spec, noise).to(DEVICE)
    optimizer = AdamWClippedConfig().build(policy)
    # so many steps that none of the timed ones is the last, which would evaluate
    cfg = TrainConfig(steps=10**9, epochs=1, micro_batch=case.micro_batch)
    trainer = Trainer(case.env, policy, GRPO(), optimizer, noise, cfg)
    trainer.train_step()
    rollout, start, processor = Clock(trainer, "rollout"), time.perf_counter(), time.process_time()
    for _ in range(steps):
        trainer.train_step()
    synchronize()
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    found = trainer.history.arrays()
    tokens = found["length"][1:].mean() * case.env.batch * case.env.candidates
    return {
        "all": seconds / steps,
        "processor": processor / steps,
        "rollout": rollout.seconds / steps,
        "tokens": tokens,
        "drawn": found["rollout_tokens_per_second"][1:].mean(),
    }


def measure_alone(measured: Callable[..., dict[str, float]], *args: Any) -> dict[str, float]:
    """The result of `measured` in a process of its own, with its peak memory in bytes; {} if memory ran out."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        return alone.submit(_with_memory, measured, *args).result()


def _with_memory(measured: Callable[..., dict[str, float]], *args: Any) -> dict[str, float]:
    try:
        found = measured(*args)
    except torch.OutOfMemoryError:
        return {}
    return found | {"memory": peak_memory()}


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.rlvr", description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", help="settings such as model=smollm2")
    parser.add_argument("--steps", type=int, default=5, help="timed steps (default: 5)")
    parser.add_argument("--prompts", type=int, default=16, help="prompts per step (default: 16)")
    parser.add_argument("--candidates", type=int, default=16, help="completions per prompt (default: 16)")
    parser.add_argument("--tokens", type=int, help="the most tokens of a completion (default: 32; with --big 512)")
    parser.add_argument("--big", action="store_true", help="Qwen3-1.7B's architecture, and a sweep of micro-batches")
    args = parser.parse_args()
    tokens = (512 if args.big else 32) if args.tokens is None else args.tokens
    if min(args.steps, args.prompts, tokens) < 1 or args.candidates < 2:
        parser.error("--steps, --prompts and --tokens must be >= 1, --candidates >= 2")
    if args.big and DEVICE.type == "cpu":
        parser.error("--big needs a CUDA GPU with about 40 GB")
    try:
        env, model = read(args.overrides, args.prompts, args.candidates, tokens)
    except ConfigError as error:
        parser.error(str(error))
    todo = cases(env, BIG, MICRO_BATCHES) if args.big else cases(env, model, (None,))
    console, table = Console(width=120), table_of(f"{args.steps} steps", COLUMNS)
    for i, case in enumerate(todo, start=1):
        console.print(f"{i}/{len(todo)}: {case.name}", highlight=False)
        times = measure_alone(measure, case, args.steps)
        table.add_row(case.name, *(row_cells(times) if times else ["out of memory"]))
    console.print(table)
    gpu = "of the GPU, without what vLLM holds of it while it draws (model.vllm_memory)"
    console.print(f"GiB: {gpu if DEVICE.type == 'cuda' else 'of the process, with torch itself'}", highlight=False)


def table_of(title: str, columns: tuple[str, ...]) -> Table:
    """An empty table, whose first column holds names."""
    threads = f", {torch.get_num_threads()} threads" if DEVICE.type == "cpu" else ""
    return new_table(columns, box=None, title=f"torch {torch.__version__}, {DEVICE}{threads}; {title}")


def row_cells(times: dict[str, float]) -> list[str]:
    update = times["all"] - times["rollout"]
    speeds = [f"{speed:,.0f}" for speed in (times["drawn"], times["tokens"] / update)]
    seconds = [f"{s:.3f}" for s in (times["all"], times["processor"], times["rollout"], update)]
    return [*seconds, *speeds, f"{times['memory'] / 2**30:.2f}"]


if __name__ == "__main__":
    sys.exit(run_main(main))
