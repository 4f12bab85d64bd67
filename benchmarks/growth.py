"""python -m benchmarks.growth: how time and memory grow with each size, beside what theory says.

The terminal task of the paper with one size changed at a time. A slope is that of log-log lines: 1 means that twice the
size takes twice as much. Theory counts the products of the method as `benchmarks.sequences` does, where every candidate
pays for all of its tokens, and one activation of every width per token. Candidates share prefixes, so K and H may cost
less. Memory is what training adds to a process that has torch.
"""

import argparse
import math
import sys
from dataclasses import replace

from rich.console import Console

from benchmarks.sequences import TERMINAL, Case, measure_workers
from benchmarks.tables import new_table
from conf.entry import run_main
from models.transformer import TransformerConfig

ONE = replace(TERMINAL, seeds=1)
SIZES: dict[str, dict[int, Case]] = {
    "seeds": {s: replace(ONE, seeds=s) for s in (1, 4, 16)},
    "K": {k: replace(ONE, env=replace(ONE.env, candidates=k)) for k in (4, 16, 64)},
    "batch": {b: replace(ONE, env=replace(ONE.env, batch=b)) for b in (50, 200, 800)},
    "horizon": {h: replace(ONE, env=replace(ONE.env, horizon=h)) for h in (4, 8, 16)},
    "vocabulary": {v: replace(ONE, env=replace(ONE.env, vocab=v)) for v in (2, 8, 32)},
    "d_model": {d: replace(ONE, model=TransformerConfig(d_model=d)) for d in (32, 64, 128)},
}


def theory(case: Case) -> tuple[float, float]:
    """Work of an episode of all seeds, and numbers that are held, both up to a constant."""
    return case.seeds * case.flops(), case.seeds * case.tokens() * case.model.d_model


def slope(sizes: list[int], values: list[float]) -> str:
    """d log(value) / d log(size) between the first and the last."""
    return f"{math.log(values[-1] / values[0]) / math.log(sizes[-1] / sizes[0]):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.growth", description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=3, help="timed episodes (default: 3)")
    parser.add_argument("--size", choices=SIZES, help="only this one")
    args = parser.parse_args()
    if args.episodes < 1:
        parser.error("--episodes must be >= 1")
    heads = ("size", "values", "s per episode", "slope", "in theory", "MiB added", "slope", "in theory")
    console, table = Console(width=140), new_table(heads, names=0, box=None)
    for name in [args.size] if args.size else SIZES:
        sizes, seconds, memory = list(SIZES[name]), [], []
        for size, case in SIZES[name].items():
            console.print(f"{name} {size}", highlight=False)
            found = measure_workers(case, args.episodes, 1)
            seconds.append(found["all"] * case.seeds)
            memory.append(found["added"] / 2**20)
        work, held = (list(values) for values in zip(*map(theory, SIZES[name].values()), strict=True))
        cells = [", ".join(map(str, sizes)), ", ".join(f"{s:.3f}" for s in seconds), slope(sizes, seconds)]
        cells += [slope(sizes, work), ", ".join(f"{m:.0f}" for m in memory), slope(sizes, memory), slope(sizes, held)]
        table.add_row(name, *cells)
    console.print(table)


if __name__ == "__main__":
    sys.exit(run_main(main))
