"""python -m benchmarks.bandits: steps per second of the bandits by number of seeds, and the time of figures 2 and 3.

Steps per second are those of one process with all cores. The methods of a figure train in one process per core, as they
do with launch=joblib.
"""

import argparse
import sys
import time
from dataclasses import dataclass

import torch
from rich.console import Console

from algorithms.base import Objective
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

SEEDS = (1, 10, 100)


@dataclass(frozen=True)
class Figure:
    """What trains for a figure; `init_std` is the std of the initial logits."""

    env: Env
    init_std: float
    log_every: int
    steps: int
    methods: tuple[Objective, ...]


FIGURE_2 = Figure(SparseBandit(), 0.0, 1, 150, (TPO(), DG(), GRPO(), PG()))
FIGURE_3 = Figure(ContextualBandit(), 1.0, 10, 1000, (CE(), TPO(), GRPO(), DG(), PG()))


def make_trainer(figure: Figure, objective: Objective, seeds: int, steps: int) -> Trainer:
    noise = Noise(tuple(range(seeds)))
    policy = TabularConfig(figure.init_std).build(figure.env.spec, noise)
    optimizer = Normalized(list(policy.parameters()), lr=0.1)
    cfg = TrainConfig(steps=steps, log_every=figure.log_every)
    return Trainer(figure.env, policy, objective, optimizer, noise, cfg)


def training_seconds(figure: Figure, objective: Objective, seeds: int) -> float:
    """Training time, without imports, store and picture."""
    trainer = make_trainer(figure, objective, seeds, figure.steps)
    start = time.perf_counter()
    trainer.run()
    return time.perf_counter() - start


def warm_up() -> None:
    for figure in (FIGURE_2, FIGURE_3):
        make_trainer(figure, figure.methods[0], 1, 20).run()


def figure_seconds(figure: Figure, workers: int) -> float:
    """Training time of all methods of a figure, in processes that take one method after the other."""
    jobs = [(figure, objective, SEEDS[-1]) for objective in figure.methods]
    return measure_at_once(training_seconds, jobs, workers, prepare=warm_up)[1]


def best_seconds(repeats: int, figure: Figure, objective: Objective, seeds: int) -> float:
    """The shortest of `repeats` timings, which other processes disturbed least."""
    return min(training_seconds(figure, objective, seeds) for _ in range(repeats))


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
    for name, figure in {"sparse_bandit (figure 2)": FIGURE_2, "contextual_bandit (figure 3)": FIGURE_3}.items():
        heads = ("algorithm", *(f"{s} seeds, steps/s" for s in SEEDS), *(f"time {s} / 1" for s in SEEDS[1:]))
        table = new_table(heads, names=0, title=name, title_justify="left")
        for objective in figure.methods:
            times = [best_seconds(repeats, figure, objective, s) for s in SEEDS]
            ratios = [f"{t / times[0]:.2f}" for t in times[1:]]
            table.add_row(objective.name, *(f"{figure.steps / t:.0f}" for t in times), *ratios)
        console.print(table)
        seconds = min(figure_seconds(figure, workers) for _ in range(repeats))
        size = f"{SEEDS[-1]} seeds x {len(figure.methods)} algorithms x {figure.steps} steps"
        console.print(f"whole figure, {size}, {workers} processes: {seconds:.2f} s\n")


if __name__ == "__main__":
    sys.exit(run_main(main))
