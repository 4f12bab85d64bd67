"""python -m benchmarks.rlvr: tokens per second and memory of rollout and update, beside TRL's GRPOTrainer.

An untrained Qwen3 of the same size, prompts, K and length for all; GRPO, one epoch, AdamW; every process is alone.
Rewards are the parity of a completion's characters, worked out in the trainer's process, so that every group learns.
With --big, Qwen3-1.7B's architecture with random weights, 512 tokens, and a sweep of micro-batches: for a GPU.
"""

import argparse
import importlib.util
import multiprocessing
import os
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from rich.table import Table

from algorithms.grpo import GRPO
from benchmarks import yardstick
from benchmarks.sequences import DEVICE, Clock, synchronize
from envs.rlvr.arithmetic import Arithmetic
from envs.rlvr.verify import Grade
from models.hf import TinyQwen3Config
from training.clipped_adamw import AdamWClippedConfig
from training.config import TrainConfig
from training.loop import Trainer
from training.noise import Noise

TRL = 'beside TRL: pip install --no-deps "trl==1.16.0"'
MICRO_BATCHES = (64, 32, 16, 8, 4)  # completions
COLUMNS = ("case", "s / step", "rollout", "update", "rollout tokens/s", "update tokens/s", "GiB", "of TRL's steps/s")


@dataclass(frozen=True)
class Parity(Arithmetic):
    """Sums whose rewards even an untrained model earns."""

    def submit(self, problems, completions):
        return Graded([Grade(yardstick.parity(text), False) for text in completions])


@dataclass(frozen=True)
class Graded:
    grades: list[Grade]

    def result(self) -> list[Grade]:
        return self.grades


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
    model: Sized
    micro_batch: int | None = None
    trl: bool = False


def cases(env: Parity, model: Sized, micro_batches: tuple[int | None, ...]) -> list[Case]:
    """Both engines as far as they are installed, with each micro-batch."""
    engines = ["hf"] + ["vllm"] * (importlib.util.find_spec("vllm") is not None)
    found = []
    for engine in engines:
        for size in micro_batches:
            name = engine if size is None else f"{engine}, micro-batch {size}"
            found.append(Case(name, env, replace(model, engine=engine), size))
    return found


def measure(case: Case, steps: int) -> dict[str, float]:
    """Seconds per step, in all and of the rollout, tokens per step, and the most memory held, in bytes."""
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        found = yardstick.measure(case.env, case.model, steps) if case.trl else measure_ours(case, steps)
    except torch.OutOfMemoryError:
        return {}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10
    if DEVICE.type == "cuda":
        memory = torch.cuda.max_memory_allocated()
    return found | {"memory": memory}


def measure_ours(case: Case, steps: int) -> dict[str, float]:
    noise = Noise((0,), DEVICE)
    policy = case.model.build(case.env.spec, noise).to(DEVICE)
    optimizer = AdamWClippedConfig().build(policy)
    # so many steps that none of the timed ones is the last, which would evaluate
    cfg = TrainConfig(steps=10**9, epochs=1, micro_batch=case.micro_batch)
    trainer = Trainer(case.env, policy, GRPO(), optimizer, noise, cfg)
    trainer.train_step()  # warms up
    rollout, start = Clock(trainer, "rollout"), time.perf_counter()
    for _ in range(steps):
        trainer.train_step()
    synchronize()
    seconds, drawn = time.perf_counter() - start, trainer.history.arrays()["length"][1:].mean()
    tokens = drawn * case.env.batch * case.env.candidates
    return {"all": seconds / steps, "rollout": rollout.seconds / steps, "tokens": tokens}


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.rlvr", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5, help="timed steps (default: 5)")
    parser.add_argument("--prompts", type=int, default=16, help="prompts per step (default: 16)")
    parser.add_argument("--candidates", type=int, default=16, help="completions per prompt (default: 16)")
    parser.add_argument("--tokens", type=int, help="the most tokens of a completion (default: 32; with --big 512)")
    parser.add_argument("--big", action="store_true", help="Qwen3-1.7B's architecture, and a sweep of micro-batches")
    args = parser.parse_args()
    tokens = args.tokens or (512 if args.big else 32)
    if min(args.steps, args.prompts, tokens) < 1 or args.candidates < 2:
        parser.error("--steps, --prompts and --tokens must be >= 1, --candidates >= 2")
    if tokens < len("1998") + 1:
        parser.error("--tokens must be >= 5, the tokens of the longest sum")
    if args.big and DEVICE.type == "cpu":
        parser.error("--big needs a CUDA GPU with about 40 GB")
    env = Parity(batch=args.prompts, candidates=args.candidates, max_new_tokens=tokens)
    todo = cases(env, BIG, MICRO_BATCHES) if args.big else cases(env, Sized(), (None,))
    if not args.big and importlib.util.find_spec("trl"):
        todo.append(Case("TRL, transformers", env, Sized(), trl=True))
    elif not args.big:
        print(TRL)
    report(todo, args.steps)


def report(todo: list[Case], steps: int) -> None:
    console, found = Console(width=120), {}
    for i, case in enumerate(todo, start=1):
        console.print(f"{i}/{len(todo)}: {case.name}", highlight=False)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
            found[case.name] = alone.submit(measure, case, steps).result()
    theirs = next((found[case.name]["all"] for case in todo if case.trl), None)
    table = Table(box=None, title=f"torch {torch.__version__}, {DEVICE}; {steps} steps")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "case" else "right")
    for name, times in found.items():
        table.add_row(name, *(row_cells(times, theirs) if times else ["out of memory"]))
    console.print(table)
    gpu = "of the GPU, without what vLLM holds of it while it draws (model.vllm_memory)"
    console.print(f"GiB: {gpu if DEVICE.type == 'cuda' else 'of the process, with torch itself'}", highlight=False)


def row_cells(times: dict[str, float], theirs: float | None) -> list[str]:
    update = times["all"] - times["rollout"]
    speeds = [f"{times['tokens'] / seconds:,.0f}" for seconds in (times["rollout"], update)]
    versus = f"{theirs / times['all']:.2f}x" if theirs else ""
    seconds = [f"{s:.3f}" for s in (times["all"], times["rollout"], update)]
    return [*seconds, *speeds, f"{times['memory'] / 2**30:.2f}", versus]


if __name__ == "__main__":
    main()
