"""python -m benchmarks.coverage: how often the 95 % intervals of analysis/stats.py cover, on made-up seeds."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from analysis import stats
from conf.entry import run_main

TRIALS = 4000
COUNTS = (5, 7, 10, 20, 50)
NEW = 20  # seeds that are predicted


@dataclass(frozen=True)
class Family:
    """Values of seeds with a known mean: `draw` gives an array of a shape."""

    draw: Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
    mean: float


def failing(share: float) -> Family:
    """An error near 0 for seeds that learn, and near 1 for the share of them that does not."""
    return Family(lambda rng, shape: (rng.random(shape) < share) + 0.01 * rng.normal(size=shape), share)


FAMILIES = {
    "normal": Family(lambda rng, shape: rng.normal(size=shape), 0.0),
    "lognormal": Family(lambda rng, shape: rng.lognormal(size=shape), np.exp(0.5)),
    "a quarter fail": failing(0.25),
}
# of ten seeds often none fails, and then no interval can know that some do
RARE = {"one in ten fails": failing(0.1), "one in twenty fails": failing(0.05)}


def coverage(family: Family, seeds: int, trials: int = TRIALS) -> dict[str, float]:
    """Shares of trials whose interval has the mean, or that of NEW seeds; median widths, in those of Student."""
    rng = np.random.default_rng(0)
    values = family.draw(rng, (trials, seeds))
    news = family.draw(rng, (trials, NEW)).mean(-1)
    student = 2 * stdtrit(seeds - 1, 0.975) * values.std(-1, ddof=1)
    found = {}
    for name, new, (low, high), spread in (
        ("interval", family.mean, stats.interval(values), seeds**-0.5),
        ("predicted", news, stats.predicted(values, NEW), (1 / seeds + 1 / NEW) ** 0.5),
    ):
        found[name] = float(((low <= new) & (new <= high)).mean())
        found[f"{name}_width"] = float(np.median((high - low) / (student * spread)))
    return found


def main() -> None:
    argparse.ArgumentParser("python -m benchmarks.coverage", description=__doc__).parse_args()
    lines = [
        {"family": name, "seeds": seeds, **coverage(family, seeds)}
        for name, family in (FAMILIES | RARE).items()
        for seeds in COUNTS
    ]
    print(f"Covered of {TRIALS} trials; widths in those of Student's interval, of the mean and of {NEW} new seeds")
    print(pd.DataFrame(lines).to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    sys.exit(run_main(main))
