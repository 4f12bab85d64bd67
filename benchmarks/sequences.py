"""python -m benchmarks.sequences: seconds per seed-episode of the sequence tasks, and the share of this machine's peak.

Useful FLOPs count each prompt once and each drawn token once, forward 1 and backward 2; equal strings that were
computed once still count as often as they were drawn. The peak is a large matrix product timed in the same process.
"""

import argparse
import resource
import time

import torch
from rich.console import Console
from rich.table import Table

from algorithms.base import Objective
from algorithms.dg import DG
from algorithms.ppo import PPO
from algorithms.tpo import TPO
from envs.sequence import TokenReversal
from models.transformer import TransformerConfig
from training.experiment import CACHED_TOKENS
from training.loop import TrainConfig, Trainer, layout
from training.muon import MuonConfig
from training.noise import Noise

TERMINAL = TokenReversal(horizon=8)
DENSE = TokenReversal(reward="bag_of_tokens", horizon=10)
CASES: dict[str, tuple[TokenReversal, Objective, str, float]] = {  # and the author's seconds per seed-episode
    "TPO, terminal": (TERMINAL, TPO(), "auto", 0.82),
    "TPO_token, dense": (DENSE, TPO(), "token_group", 0.78),
    "DG, dense": (DENSE, DG(), "auto", 0.062),
    "PPO, dense": (DENSE, PPO(), "auto", 0.114),
}


def peak(device: torch.device) -> float:
    """FLOP/s of a large float32 matrix product."""
    x = torch.randn(2048, 2048, device=device)
    times = []
    for _ in range(8):
        start = time.perf_counter()
        x @ x
        synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(times)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def flops(env: TokenReversal, cfg: TransformerConfig, k: int, epochs: int) -> float:
    """FLOPs of the matrix products of one seed-episode: forward for the rollout, forward and backward per epoch."""
    tokens = env.batch * (env.horizon + k * (env.horizon - 1))
    per_token = 2 * cfg.layers * cfg.d_model**2 * (4 + 2 * cfg.mlp_ratio)
    return tokens * per_token * (1 + 3 * epochs)


class Clock:
    """Adds up the time of one method of an object."""

    def __init__(self, owner: object, name: str, device: torch.device):
        self.seconds, method = 0.0, getattr(owner, name)

        def timed(*args):
            start = time.perf_counter()
            result = method(*args)
            synchronize(device)
            self.seconds += time.perf_counter() - start
            return result

        setattr(owner, name, timed)


def measure(case: str, seeds: int, episodes: int, device: torch.device) -> tuple[float, float, float, float]:
    """Seconds per seed-episode: all, rollout, loss with its backward pass, optimiser."""
    env, objective, sampler, _ = CASES[case]
    noise = Noise(tuple(range(seeds)), device)
    policy = TransformerConfig().build(env.spec, noise).to(device)
    optimizer = MuonConfig().build(policy)
    trainer = Trainer(env, policy, objective, optimizer, noise, TrainConfig(steps=episodes + 1), sampler)
    clocks = [Clock(trainer, "sampler", device), Clock(trainer, "_epoch", device), Clock(optimizer, "step", device)]
    times: list[float] = []
    trainer.run(lambda _: times.append(time.perf_counter()))  # the first episode warms up
    parts = [clock.seconds / (episodes + 1) / seeds for clock in clocks]
    return (times[-1] - times[0]) / episodes / seeds, *parts


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.sequences", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, help="seeds trained together (default: what the cache holds)")
    parser.add_argument("--episodes", type=int, default=5, help="timed episodes from the start (default: 5)")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    console, limit = Console(width=130), peak(device)
    title = f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads; peak {limit / 1e9:.0f} GFLOP/s"
    table = Table(title=f"{title}; first {args.episodes} episodes", title_justify="left")
    for column in (
        "case",
        "seeds",
        "s / seed-episode",
        "rollout",
        "loss",
        "optimiser",
        "of peak",
        "author's s",
        "times faster",
    ):
        table.add_column(column, justify="left" if column == "case" else "right")
    for case, (env, objective, sampler, theirs) in CASES.items():
        name = layout(env, objective, sampler)
        seeds = args.seeds or max(1, CACHED_TOKENS // env.spec.tokens[name])
        total, *parts = measure(case, seeds, args.episodes, device)
        k = env.candidates if name == "group_rollouts" else 1
        share = flops(env, TransformerConfig(), k, objective.epochs) / total / limit
        faster = f"{theirs / total:.1f}"
        table.add_row(
            case, f"{seeds}", f"{total:.3f}", *(f"{x:.4f}" for x in parts), f"{share:.0%}", f"{theirs}", faster
        )
    console.print(table)
    console.print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
