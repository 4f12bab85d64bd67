"""A run's metrics as arrays: steps by seeds."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from store import metrics


@dataclass(frozen=True)
class Series:
    """The columns of a table of metrics; `metric` holds the place of a line's metric among `names`."""

    names: list[str]
    metric: np.ndarray
    seed: np.ndarray
    step: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, table: pa.Table, seeds: tuple[int, ...] | None = None) -> "Series":
        """Those of some seeds, or of all."""
        table = table if seeds is None else metrics.of_seeds(table, seeds)
        names = pc.unique(table["metric"])
        columns = [pc.index_in(table["metric"], names), *(table[name] for name in ("seed", "step", "value"))]
        return cls(names.to_pylist(), *(column.to_numpy() for column in columns))

    def digest(self) -> str:
        """Hash of names and numbers."""
        found = hashlib.sha256(" ".join(self.names).encode())
        for column in (self.metric, self.seed, self.step, self.value):
            found.update(np.ascontiguousarray(column))
        return found.hexdigest()

    def wide(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Recorded steps (n,), seeds (s,) and values (n, s) of a metric; NaN where a seed lacks a step."""
        chosen = self.metric == (self.names.index(name) if name in self.names else -1)
        steps, row = np.unique(self.step[chosen], return_inverse=True)
        seeds, column = np.unique(self.seed[chosen], return_inverse=True)
        values = np.full((len(steps), len(seeds)), np.nan, self.value.dtype)
        values[row, column] = self.value[chosen]
        return steps, seeds, values
