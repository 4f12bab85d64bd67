"""Prompts that pass through a causal language model and leave their keys and values in its cache."""

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

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


def prefix_cache(forward: Forward, prompts: Prompts, config: Any, device: torch.device) -> Any:
    """A cache (1 row) with the keys and values of the tokens with which all prompts start; often it is empty.

    A sliding-window layer would count the padding between prefix and prompt as part of its window. So a model with such
    layers passes whole prompts.
    """
    from transformers import DynamicCache

    cache = DynamicCache(config=config)
    length = 0 if any(cache.is_sliding) else shared_prefix(prompts)
    if length:
        tokens = torch.tensor([list(prompts[0][:length])], device=device)
        forward(tokens, torch.ones_like(tokens), cache)
    return cache


def pass_prompts(forward: Forward, prompts: Prompts, cache: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Add B prompts to their `prefix_cache`: the output of `forward` for their tokens, (B,n,...), and the mask (B,P).

    The cache then has B rows of P tokens: the prefix, padding, and what follows the prefix.
    """
    length = cache.get_seq_length()
    if length:
        cache.batch_repeat_interleave(len(prompts))
    tokens, mask = pad_left([prompt[length:] for prompt in prompts], device)
    mask = torch.cat([mask.new_ones(len(prompts), length), mask], dim=1)
    return forward(tokens, mask, cache), mask


def pad_left(prompts: Prompts, device: torch.device) -> tuple[Tensor, Tensor]:
    """Prompts as tokens (N,P), padded on the left, and their mask (N,P), 1 for a token."""
    longest = max(map(len, prompts))
    tokens = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    mask = torch.arange(longest, device=device) >= longest - lengths.unsqueeze(1)
    return torch.tensor(tokens, device=device), mask.long()


def position_ids(mask: Tensor) -> Tensor:
    """Positions (N,L), which start at 0 at the first token of each row."""
    return (mask.cumsum(-1) - 1).clamp_min(0)
