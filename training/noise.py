"""Random numbers that depend on seed, stream, step and how many are drawn, not on which other seeds train."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from algorithms.base import require

STREAMS = ("init", "context", "action", "reward", "eval", "warm", "tie")
BLOCK = 8192  # numbers drawn at once per seed, since to start a generator takes longer than to draw


@dataclass(frozen=True)
class Noise:
    """Noise of a step, from a counter-based generator (Philox).

    The same call gives the same numbers again. The generator's key is (seed, stream), and its counter is a block of
    steps. So a checkpoint holds no generator state.
    """

    seeds: tuple[int, ...]
    device: torch.device | str = "cpu"
    step: int = 0
    _cache: dict = field(default_factory=dict, compare=False, repr=False)

    def at_step(self, step: int) -> "Noise":
        """The noise of another step."""
        return replace(self, step=step)

    def uniform(self, stream: str, n: int) -> Tensor:
        """Uniform numbers (S,n) in [0, 1) of one of STREAMS."""
        return self._draw(stream, n, "random")

    def normal(self, stream: str, n: int) -> Tensor:
        """Standard normal numbers (S,n) of one of STREAMS."""
        return self._draw(stream, n, "standard_normal")

    def _draw(self, stream: str, n: int, method: str) -> Tensor:
        steps = max(1, BLOCK // n)
        block, row = divmod(self.step, steps)
        key = stream, n, method
        if self._cache.get(key, (None,))[0] != block:
            require(stream in STREAMS, "stream of random numbers", stream, f"one of {', '.join(STREAMS)}")
            counter, index = [0, 0, block, 0], STREAMS.index(stream)
            generators = (np.random.Generator(np.random.Philox(counter=counter, key=[s, index])) for s in self.seeds)
            draws = np.stack([getattr(g, method)((steps, n), dtype=np.float32) for g in generators], axis=1)
            self._cache[key] = block, torch.from_numpy(draws).to(self.device)
        return self._cache[key][1][row]
