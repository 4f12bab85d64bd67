"""python -m benchmarks.mnist: time per step of the MNIST bandit, and the share of it that is matrix products.

With several processes each has its share of the cores and seeds of its own, and all train at once.
"""

import argparse
import statistics
import sys
import time
from dataclasses import dataclass

import torch
from rich.console import Console
from torch import Tensor

from algorithms.base import Objective
from algorithms.dg import DG
from algorithms.tpo import TPO
from benchmarks.sequences import peak_memory
from benchmarks.tables import new_table
from benchmarks.workers import measure_at_once
from conf.entry import run_main
from envs.datasets import Images
from envs.images import ImageBandit
from launch.kinds import cores
from models.mlp import MLPConfig
from training.config import TrainConfig
from training.loop import Trainer
from training.noise import Noise
from training.optim import AdamConfig

SEEDS = 20
PIXELS = (torch.rand(60000, 784), torch.randint(10, (60000,)), torch.rand(10000, 784), torch.randint(10, (10000,)))


@dataclass(frozen=True)
class RandomImages(ImageBandit):
    """Noise of MNIST's size, which costs as much to learn from."""

    @property
    def images(self) -> Images:
        return Images(*PIXELS)


def make_trainer(objective: Objective, seeds: int, steps: int) -> Trainer:
    noise, env = Noise(tuple(range(seeds))), RandomImages()
    policy = MLPConfig().build(env.spec, noise)
    cfg = TrainConfig(steps=steps, log_every=200)
    return Trainer(env, policy, objective, AdamConfig().build(policy), noise, cfg)


def measure(objective: Objective, seeds: int, steps: int) -> tuple[float, float, float]:
    """Seconds per step, those of its products alone, and bytes that training takes beyond the data."""
    before, trainer = peak_memory(), make_trainer(objective, seeds, steps + 3)
    for _ in range(3):
        trainer.train_step()
    start = time.perf_counter()
    trainer.run()
    return (time.perf_counter() - start) / steps, product_seconds(trainer), peak_memory() - before


def warm_up() -> None:
    make_trainer(TPO(), 1, 3).run()


def product_seconds(trainer: Trainer, repeats: int = 50) -> float:
    """Seconds of one step's matrix products alone: forward, and backward to kernels and activations."""
    kernels = [kernel.detach() for kernel in trainer.policy.kernels]
    inputs = [torch.rand(len(kernel), trainer.env.batch, kernel.shape[1]) for kernel in kernels]
    outputs = [torch.rand(*x.shape[:2], kernel.shape[2]) for x, kernel in zip(inputs, kernels, strict=True)]

    def step() -> list[Tensor]:
        found = [x @ kernel for x, kernel in zip(inputs, kernels, strict=True)]
        found += [x.transpose(1, 2) @ y for x, y in zip(inputs, outputs, strict=True)]
        return found + [y @ kernel.transpose(1, 2) for y, kernel in zip(outputs[1:], kernels[1:], strict=True)]

    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.mnist", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400, help="timed steps, with a test every 200 (default: 400)")
    steps = parser.parse_args().steps
    if steps < 1:
        parser.error("--steps must be >= 1")
    heads = ("algorithm", "processes", "seeds of each", "ms / step of all", "products", "MiB of each")
    table = new_table(heads, box=None, title=f"torch {torch.__version__}, {cores()} cores", title_justify="left")
    for objective in (TPO(), DG()):
        for workers, seeds in ((1, 1), (1, SEEDS), (cores(), max(1, SEEDS // cores()))):
            found, _ = measure_at_once(measure, [(objective, seeds, steps)] * workers, workers, prepare=warm_up)
            took, products, memory = (sum(values) / workers for values in zip(*found, strict=True))
            cells = (f"{1e3 * took:.2f}", f"{products / took:.0%}", f"{memory / 2**20:.0f}")
            table.add_row(objective.name, str(workers), str(seeds), *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(run_main(main))
