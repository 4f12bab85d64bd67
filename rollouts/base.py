"""The interface of an engine that draws completions."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class EngineOutput:
    """N completions of at most T tokens, padded on the right. An end-of-sequence token is one of the tokens.

    tokens (N,T)     long
    lengths (N,)     long
    truncated (N,)   bool, true for a completion that was cut at T tokens without an end-of-sequence token
    logp (N,T)       log-prob in nats that the engine gave each token, 0 for padding
    """

    tokens: Tensor
    lengths: Tensor
    truncated: Tensor
    logp: Tensor


class Engine:
    """Draws completions from the weights of the last `push`."""

    def generate(self, prompts: Sequence[Sequence[int]], k: int, uniforms: Tensor) -> EngineOutput:
        """`k` completions of at most T tokens for each prompt, in successive rows.

        uniforms (len(prompts) * k, T) in [0, 1) decide what is drawn, at temperature 1 from the whole vocabulary. The
        same numbers always give the same completions. Where the engine allows it, a row depends on its own numbers
        alone. A row of NaN takes the likeliest token each time.
        """
        raise NotImplementedError

    def push(self, model) -> None:
        """Use the current weights of `model`, a transformers model that may have adapters, from now on."""
        raise NotImplementedError

    def close(self) -> None:
        """Free the memory of the engine, which draws again only after another push."""
