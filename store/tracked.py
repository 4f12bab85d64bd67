"""The facts about a run that a tracker gets, and the numbers that it logs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

POINTS = 300  # of the curve of a seed


@dataclass(frozen=True)
class Tracked:
    """The seeds of a run that train together.

    sweep  the sweep file that the run belongs to, such as fig07; None without one
    step   the step of the checkpoint from which they go on; 0 at the start
    """

    config: dict[str, Any]
    folder: Path
    seeds: Sequence[int]
    sweep: str | None
    step: int

    @property
    def env(self) -> str:
        return self.config["env"]["name"]

    @property
    def algo(self) -> str:
        return self.config["algo"]["name"]

    @property
    def title(self) -> str:
        return f"{self.env}/{self.algo}"

    @property
    def id(self) -> str:
        """The same when, and only when, the same seeds of the same configuration are trained again."""
        return f"{self.folder.name}-{self.seeds[0]}-{len(self.seeds)}-{crc32(repr(self.seeds).encode()):08x}"


def scalars(history: Any, after: int) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, values) of the records after a step.

    NAME is the mean over the finite seeds; NAME/low and NAME/high are two standard errors below and above it, where
    more than one seed is finite; finite_seeds is their number.
    """
    for step, metrics in history.records_after(after):
        found: dict[str, float] = {}
        for name, value in metrics.items():
            finite = value[value.isfinite()].double()
            found["finite_seeds"] = max(found.get("finite_seeds", 0), len(finite))
            if not len(finite):
                continue
            mean = found[name] = finite.mean().item()
            if len(finite) > 1:
                band = 2 * finite.std().item() / len(finite) ** 0.5
                found |= {f"{name}/low": mean - band, f"{name}/high": mean + band}
        yield step, found


def curves(history: Any) -> tuple[list[int], list[list[float]]]:
    """Recorded steps, and the error of each seed at these steps, thinned to POINTS."""
    values = history.arrays()["error"]
    kept = np.unique(np.linspace(0, len(values) - 1, POINTS).round().astype(int))
    return [history.recorded_steps["error"][i] for i in kept], values[kept].T.tolist()


def final_values(history: Any, seeds: Sequence[int]) -> tuple[list[str], list[list[float]]]:
    """Names of columns, and a row for each seed: its last value of every metric."""
    last = {name: values[-1].tolist() for name, values in history.arrays().items()}
    return ["seed", *last], [[seed, *row] for seed, row in zip(seeds, zip(*last.values(), strict=True), strict=True)]
