"""Prompts that pass through a causal language model and leave their keys and values in its cache."""

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

Prompts = Sequence[Sequence[int]]
# (tokens (N,n), mask (N,L) of these and of the cached tokens before them, cache) -> output for the tokens
Forward = Callable[[Tensor, Tensor, Any], Tensor]
MIN_SHARED_TOKENS = 16  # tokens: a shorter prefix costs more as a pass of its own than it saves


def shared_prefix(prompts: Prompts) -> int:
    """The number of tokens with which all prompts start, or 0 if there are few. Each prompt has at least one more."""
    if len(prompts) < 2:
        return 0
    columns = zip(*(prompt[:-1] for prompt in prompts), strict=False)
    length = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    return length if length >= MIN_SHARED_TOKENS else 0


def empty_cache(config: Any) -> Any:
    """transformers' cache for a model with this config."""
    from transformers import DynamicCache

    return DynamicCache(config=config)


def attends_to_all(cache: Any) -> bool:
    """Whether each layer of a model attends to all earlier tokens: none has a window, or a state in their place."""
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in cache.layers)


def has_states(cache: Any) -> bool:
    """Whether layers of a model carry a state from token to token, as linear attention does."""
    from transformers.cache_utils import LinearAttentionCacheLayerMixin

    return any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in cache.layers)


def prefix_cache(forward: Forward, prompts: Prompts, config: Any, device: torch.device) -> tuple[Any, int]:
    """A cache (1 row) with the tokens with which all prompts start, and their number, which is often 0.

    A layer with a window or a state would take in the padding between prefix and prompt. So a model with such layers
    passes whole prompts.
    """
    cache = empty_cache(config)
    length = shared_prefix(prompts) if attends_to_all(cache) else 0
    if length:
        tokens = torch.tensor([list(prompts[0][:length])], device=device)
        forward(tokens, torch.ones_like(tokens), cache)
    return cache, length


def pass_prompts(
    forward: Forward, prompts: Prompts, cache: Any, length: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Add B prompts to their `prefix_cache`: the output of `forward` for their tokens, (B,n,...), and the mask (B,P).

    The cache then has B rows of P tokens: the prefix of `length` tokens, padding, and what follows the prefix.
    """
    if length:
        cache.batch_repeat_interleave(len(prompts))
    tokens, mask = pad_left([prompt[length:] for prompt in prompts], device)
    mask = torch.cat([mask.new_ones(len(prompts), length), mask], dim=1)
    return forward(tokens, mask, cache), mask


def pad_left(prompts: Prompts, device: torch.device) -> tuple[Tensor, Tensor]:
    """Prompts as tokens (N,P), padded on the left, and their mask (N,P), 1 for a token."""
    rows = [torch.tensor(prompt, dtype=torch.long) for prompt in prompts]
    tokens = pad_sequence(rows, batch_first=True, padding_value=-1, padding_side="left").to(device)
    return tokens.clamp_min(0), (tokens >= 0).long()


def position_ids(mask: Tensor) -> Tensor:
    """Positions (N,L), which start at 0 at the first token of each row."""
    return (mask.cumsum(-1) - 1).clamp_min(0)
