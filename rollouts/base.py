"""What an engine that draws completions is."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class EngineOutput:
    """N completions of at most T tokens, padded on the right; an end-of-sequence token counts as one of them.

    tokens (N,T)  long · lengths (N,)  long · truncated (N,)  bool: cut at T without an end-of-sequence token
    logp (N,T)    log-prob in nats that the engine itself gave each token, 0 beyond the length
    """

    tokens: Tensor
    lengths: Tensor
    truncated: Tensor
    logp: Tensor


class Engine:
    """Draws completions from the weights that were last pushed."""

    def generate(self, prompts: Sequence[Sequence[int]], k: int, uniforms: Tensor | None, length: int) -> EngineOutput:
        """`k` completions of at most `length` tokens for each prompt, those of a prompt in successive rows.

        uniforms (len(prompts) * k, length) in [0, 1) decide what is drawn, at temperature 1 from the whole
        vocabulary, so that a row depends on its own numbers alone where the engine can do that, and the same numbers
        always give the same completions; None takes the likeliest token each time.
        """
        raise NotImplementedError

    def push(self, model) -> None:
        """Draw from the present weights of `model` (a transformers model, perhaps with adapters) from now on."""
        raise NotImplementedError
