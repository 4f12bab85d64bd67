"""python -m benchmarks.sequences: seconds per seed-episode of the sequence tasks, and the share of this machine's peak.

Useful FLOPs count each prompt once and each drawn token once, forward 1 and backward 2, in every epoch; what is shared
or left out still counts as often as the method asks for it. The peak is a large matrix product timed in the same
process. With several workers, each is a process with its share of the cores and trains its own seeds, all at once.
"""

import argparse
import resource
import sys
import time
from dataclasses import dataclass

import torch
from rich.console import Console

from algorithms.base import Objective
from algorithms.dg import DG
from algorithms.ppo import PPO
from algorithms.tpo import TPO
from benchmarks.tables import names_with, new_table
from benchmarks.workers import measure_at_once
from conf.entry import run_main
from envs.sequence import TokenReversal
from launch.kinds import cores
from models.transformer import TransformerConfig
from training.config import TrainConfig
from training.experiment import CACHED_TOKENS
from training.loop import Trainer
from training.muon import MuonConfig
from training.noise import Noise
from training.samplers import sampler_name

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
MODEL = TransformerConfig()


@dataclass(frozen=True)
class Case:
    """One row of the table.

    seeds   seeds that train together; None: as many as the cache holds
    """

    name: str
    env: TokenReversal
    objective: Objective
    sampler: str = "auto"
    model: TransformerConfig = MODEL
    seeds: int | None = None

    @property
    def sampler_name(self) -> str:
        return sampler_name(self.env, self.objective, self.sampler)

    @property
    def seeds_together(self) -> int:
        return self.seeds or max(1, CACHED_TOKENS // self.env.spec.tokens_per_rollout[self.sampler_name])

    def flops(self) -> float:
        """Useful FLOPs of the matrix products of one seed-episode: a forward rollout, then forward and backward."""
        per_token = 2 * self.model.layers * self.model.d_model**2 * (4 + 2 * self.model.mlp_ratio)
        return self.tokens() * per_token * (1 + 3 * self.objective.epochs)

    def tokens(self) -> int:
        """Tokens that pass through the policy in one seed-episode, each prompt once and each drawn token once."""
        k = self.env.candidates if self.sampler_name == "group_rollouts" else 1
        return self.env.batch * (self.env.horizon + k * (self.env.horizon - 1))


TERMINAL = Case("TPO, terminal", TokenReversal(horizon=8), TPO())
DENSE = TokenReversal(reward="bag_of_tokens", horizon=10)
PAPER = (
    TERMINAL,
    Case("TPO_token, dense", DENSE, TPO(), "token_group"),
    Case("DG, dense", DENSE, DG()),
    Case("PPO, dense", DENSE, PPO()),
)


def peak_flops() -> float:
    """FLOP/s of a large float32 matrix product."""
    x, times = torch.randn(2048, 2048, device=DEVICE), []
    for _ in range(8):
        start = time.perf_counter()
        x @ x
        synchronize()
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(times)


def synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


class Clock:
    """Adds up the time of one method of an object."""

    def __init__(self, owner: object, name: str):
        self.seconds, method = 0.0, getattr(owner, name)

        def timed(*args):
            start = time.perf_counter()
            result = method(*args)
            synchronize()
            self.seconds += time.perf_counter() - start
            return result

        setattr(owner, name, timed)


def make_trainer(case: Case, steps: int, first_seed: int = 0) -> Trainer:
    """A trainer of a case, with as many seeds as train together."""
    noise = Noise(tuple(range(first_seed, first_seed + case.seeds_together)), DEVICE)
    policy = case.model.build(case.env.spec, noise).to(DEVICE)
    optimizer = MuonConfig().build(policy)
    return Trainer(case.env, policy, case.objective, optimizer, noise, TrainConfig(steps=steps), case.sampler)


def measure(case: Case, episodes: int, first_seed: int) -> dict[str, float]:
    """Seconds per seed-episode of training, peak in FLOP/s, and memory in bytes: all, and what training added.

    The seconds are those of all, of the rollout, of the optimiser, and of the rest: losses with their backward passes.
    """
    limit, seeds, before = peak_flops(), case.seeds_together, peak_memory()
    trainer = make_trainer(case, episodes + 1, first_seed)
    trainer.train_step()  # warms up
    rollout, step = Clock(trainer, "sampler"), Clock(trainer.optimizer, "step")
    start = time.perf_counter()
    trainer.run()
    synchronize()
    seconds = {"all": time.perf_counter() - start, "rollout": rollout.seconds, "optimiser": step.seconds}
    seconds["loss"] = seconds["all"] - rollout.seconds - step.seconds
    memory = peak_memory()
    found = {"peak": limit, "memory": memory, "added": memory - before}
    return {k: v / episodes / seeds for k, v in seconds.items()} | found


def peak_memory() -> int:
    """The most bytes that were held: of the GPU, or else of this process."""
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10


def measure_workers(case: Case, episodes: int, workers: int) -> dict[str, float]:
    """`measure` in `workers` processes at once; the seconds of one process are divided by their number."""
    jobs = [(case, episodes, 100 * worker) for worker in range(workers)]
    results, _ = measure_at_once(measure, jobs, workers, prepare=peak_flops)
    mean = {key: sum(result[key] for result in results) / workers for key in results[0]}
    times = {key: mean[key] / workers for key in ("all", "rollout", "loss", "optimiser")}
    return mean | times | {"peak": mean["peak"] * workers}


COLUMNS = ("case", "seeds", "s / seed-episode", "rollout", "loss", "optimiser", "of peak", "GiB")


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.sequences", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--episodes", type=int, default=8, help="timed episodes from the start of training (default: 8)"
    )
    parser.add_argument("--workers", type=int, help="processes at once (default: one per core; 1 on a GPU)")
    parser.add_argument("--case", default="", help="only the rows whose name contains this")
    args = parser.parse_args()
    if args.episodes < 1 or (args.workers is not None and args.workers < 1):
        parser.error("--episodes and --workers must be >= 1")
    wanted = names_with(args.case, [case.name for case in PAPER], parser)
    cases = [case for case in PAPER if case.name in wanted]
    workers = args.workers or (1 if DEVICE.type == "cuda" else cores())

    title = f"torch {torch.__version__}, {DEVICE}; {workers} workers; {args.episodes} episodes"
    table = new_table(COLUMNS, box=None, title=title)
    console = Console(width=120)
    for i, case in enumerate(cases, start=1):
        console.print(f"{i}/{len(cases)}: {case.name}", highlight=False)
        found = measure_workers(case, args.episodes, workers)
        times = [f"{found[key]:.4f}" for key in ("all", "rollout", "loss", "optimiser")]
        share, memory = case.flops() / found["all"] / found["peak"], found["memory"] / 2**30
        table.add_row(case.name, f"{case.seeds_together}", *times, f"{share:.0%}", f"{memory:.2f}")
        limit = found["peak"]
    console.print(table)
    console.print(f"peak {limit / 1e9:.0f} GFLOP/s; GiB: of one worker, with torch itself")


if __name__ == "__main__":
    sys.exit(run_main(main))
