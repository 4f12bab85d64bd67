"""python -m benchmarks.bandits: steps per second of the bandits by number of seeds, and the time of figures 2 and 3.

Steps per second are those of one process with all cores. The methods of a figure train in one process per core, as they
do with launch=joblib.
"""

import argparse
import sys
import time

import torch
from rich.console import Console

from algorithms.ce import CE
from algorithms.dg import DG
from algorithms.grpo import GRPO
from algorithms.pg import PG
from algorithms.tpo import TPO
from benchmarks.tables import new_table
from benchmarks.workers import measure_at_once
from conf.entry import run_main
from envs.bandit import ContextualBandit, SparseBandit
from envs.base import Env
from launch.kinds import cores
from models.tabular import TabularConfig
from training.config import TrainConfig
from training.loop import Trainer
from training.noise import Noise
from training.optim import Normalized

# environment, std of the initial logits, recorded every, steps and methods of its figure
TASKS = {
    "sparse_bandit (figure 2)": (SparseBandit(), 0.0, 1, 150, (TPO(), DG(), GRPO(), PG())),
    "contextual_bandit (figure 3)": (ContextualBandit(), 1.0, 10, 1000, (CE(), TPO(), GRPO(), DG(), PG())),
}
SEEDS = (1, 10, 100)


def training_seconds(env: Env, init_std: float, log_every: int, objective, seeds: int, steps: int) -> float:
    """Training time, without imports, store and figure."""
    noise = Noise(tuple(range(seeds)))
    policy = TabularConfig(init_std).build(env.spec, noise)
    optimizer = Normalized(list(policy.parameters()), lr=0.1)
    trainer = Trainer(env, policy, objective, optimizer, noise, TrainConfig(steps=steps, log_every=log_every))
    start = time.perf_counter()
    trainer.run()
    return time.perf_counter() - start


def warm_up() -> None:
    for env, init_std, log_every, _, methods in TASKS.values():
        training_seconds(env, init_std, log_every, methods[0], 1, 20)


def figure_seconds(name: str, workers: int) -> float:
    """Training time of all methods of a figure, in processes that take one method after the other."""
    env, init_std, log_every, steps, methods = TASKS[name]
    jobs = [(env, init_std, log_every, objective, SEEDS[-1], steps) for objective in methods]
    return measure_at_once(training_seconds, jobs, workers, prepare=warm_up)[1]


def best_seconds(repeats: int, *args) -> float:
    """The shortest of `repeats` timings, which other processes disturbed least."""
    return min(training_seconds(*args) for _ in range(repeats))


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.bandits", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="timings of which the best counts (default: 3)")
    parser.add_argument("--workers", type=int, default=cores(), help="processes of a figure (default: one per core)")
    args = parser.parse_args()
    repeats, workers = args.repeats, args.workers
    if repeats < 1 or workers < 1:
        parser.error("--repeats and --workers must be >= 1")
    console = Console(width=120)
    console.print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; best of {repeats}")
    warm_up()
    for name, (env, init_std, log_every, steps, methods) in TASKS.items():
        heads = ("algorithm", *(f"{s} seeds, steps/s" for s in SEEDS), *(f"time {s} / 1" for s in SEEDS[1:]))
        table = new_table(heads, names=0, title=name, title_justify="left")
        for objective in methods:
            times = [best_seconds(repeats, env, init_std, log_every, objective, s, steps) for s in SEEDS]
            ratios = [f"{t / times[0]:.2f}" for t in times[1:]]
            table.add_row(objective.name, *(f"{steps / t:.0f}" for t in times), *ratios)
        console.print(table)
        seconds = min(figure_seconds(name, workers) for _ in range(repeats))
        size = f"{SEEDS[-1]} seeds x {len(methods)} algorithms x {steps} steps"
        console.print(f"whole figure, {size}, {workers} processes: {seconds:.2f} s\n")


if __name__ == "__main__":
    sys.exit(run_main(main))
