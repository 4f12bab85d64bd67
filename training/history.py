"""What a run records."""

from bisect import bisect_right
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class History:
    """Metrics (S,), each with the steps at which it was recorded; NaN from where a seed turned non-finite."""

    recorded_steps: dict[str, list[int]] = field(default_factory=dict)
    values: dict[str, list[Tensor]] = field(default_factory=dict)

    def append(self, step: int, metrics: dict[str, Tensor]) -> None:
        for name, value in metrics.items():
            self.recorded_steps.setdefault(name, []).append(step)
            self.values.setdefault(name, []).append(value.detach())

    @property
    def steps(self) -> list[int]:
        """All steps at which something was recorded."""
        return sorted(set().union(*self.recorded_steps.values()))

    def records_after(self, step: int) -> list[tuple[int, dict[str, Tensor]]]:
        """What was recorded after a step, in order: (step, {metric: (S,)})."""
        found: dict[int, dict[str, Tensor]] = {}
        for name, steps in self.recorded_steps.items():
            for i in range(bisect_right(steps, step), len(steps)):
                found.setdefault(steps[i], {})[name] = self.values[name][i]
        return sorted(found.items())

    def arrays(self) -> dict:
        """{metric: numpy array (steps, S)}."""
        return {name: torch.stack(values).cpu().numpy() for name, values in self.values.items()}
