"""The metrics that a run has recorded so far."""

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor


@dataclass
class History:
    """Metrics (S,) by name, NaN for a seed from the step on at which it turned non-finite.

    recorded_steps  {metric: steps at which it was recorded}
    values          {metric: its value (S,) at each of these steps}
    """

    recorded_steps: dict[str, list[int]] = field(default_factory=dict)
    values: dict[str, list[Tensor]] = field(default_factory=dict)

    def append(self, step: int, metrics: dict[str, Tensor]) -> None:
        for name, value in metrics.items():
            self.recorded_steps.setdefault(name, []).append(step)
            value = value.detach()  # numpy has no bfloat16
            self.values.setdefault(name, []).append(value.float() if value.dtype == torch.bfloat16 else value)

    def records_after(self, step: int) -> list[tuple[int, dict[str, Tensor]]]:
        """The records after a step, in order: (step, {metric: (S,)})."""
        found: dict[int, dict[str, Tensor]] = {}
        for name, steps in self.recorded_steps.items():
            for i in range(bisect_right(steps, step), len(steps)):
                found.setdefault(steps[i], {})[name] = self.values[name][i]
        return sorted(found.items())

    def arrays(self) -> dict:
        """{metric: numpy array (steps, S)}."""
        return {name: torch.stack(values).cpu().numpy() for name, values in self.values.items()}

    def frame(self, seeds: tuple[int, ...]) -> pd.DataFrame:
        """The history of these seeds as the store keeps it: a row (seed, step, metric, value) for each number."""
        parts = []
        for name, values in self.arrays().items():
            steps = np.repeat(np.asarray(self.recorded_steps[name], dtype=np.int32), len(seeds))
            columns = np.tile(np.asarray(seeds, dtype=np.int64), len(values))
            parts.append(pd.DataFrame({"seed": columns, "step": steps, "metric": name, "value": values.reshape(-1)}))
        return pd.concat(parts, ignore_index=True)
