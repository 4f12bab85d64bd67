"""What a run records."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class History:
    """Metrics (S,), each with the steps at which it was recorded; NaN from where a seed turned non-finite."""

    at: dict[str, list[int]] = field(default_factory=dict)
    values: dict[str, list[Tensor]] = field(default_factory=dict)

    def append(self, step: int, metrics: dict[str, Tensor]) -> None:
        for name, value in metrics.items():
            self.at.setdefault(name, []).append(step)
            self.values.setdefault(name, []).append(value.detach())

    @property
    def steps(self) -> list[int]:
        """All steps at which something was recorded."""
        return sorted(set().union(*self.at.values()))

    def newest(self) -> tuple[int, dict[str, Tensor]]:
        """The last step at which something was recorded, and what."""
        last = max((steps[-1] for steps in self.at.values()), default=0)
        return last, {name: self.values[name][-1] for name, steps in self.at.items() if steps[-1] == last}

    def arrays(self) -> dict:
        """{metric: numpy array (steps, S)}."""
        return {name: torch.stack(values).cpu().numpy() for name, values in self.values.items()}
