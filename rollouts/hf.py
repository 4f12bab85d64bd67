"""Completions drawn by the training model itself.

The keys and values of a prompt are computed once per group, and those of a prefix that all prompts share once for all.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rollouts.base import Engine, EngineOutput
from rollouts.prompts import Prompts, pass_prompts, position_ids, prefix_cache
from rollouts.weights import LowPrecisionCopy

COMPACT_BELOW_SHARE = 0.9  # finished rows leave the batch when the share of unfinished rows falls to this value


class HFEngine(Engine):
    """Draws with a transformers model and its cache, whole groups at a time: `rows` completions at most, or one group.

    dtype  of a copy of the weights from which it draws, made anew by each push; None: it draws from the model itself
    """

    def __init__(self, stops: Sequence[int], rows: int, dtype: torch.dtype | None = None):
        self.stops, self.rows, self.dtype = list(stops), rows, dtype
        self.model, self.copy = None, None

    def push(self, model) -> None:
        if self.dtype is None:
            self.model = model
            return
        if self.copy is None:
            self.copy = LowPrecisionCopy(model, self.dtype)
            self.model = self.copy.model
        self.copy.refresh(model)

    @torch.no_grad()
    def generate(self, prompts, k, uniforms, length) -> EngineOutput:
        size = max(1, self.rows // k)
        cache = prefix_cache(self._logits, prompts, self.model.config, self.model.device)
        parts = []
        for i in range(0, len(prompts), size):
            numbers = None if uniforms is None else uniforms[i * k : (i + size) * k]
            parts.append(self._generate(prompts[i : i + size], k, numbers, length, copy.deepcopy(cache)))
        fields = ("tokens", "lengths", "truncated", "logp")
        return EngineOutput(*(torch.cat([getattr(part, field) for part in parts]) for field in fields))

    def _generate(self, prompts: Prompts, k: int, uniforms: Tensor | None, length: int, cache: Any) -> EngineOutput:
        device, n = self.model.device, len(prompts) * k
        logits, mask = pass_prompts(self._logits, prompts, cache, device)
        ends = torch.zeros(logits.shape[1], dtype=torch.bool, device=device)
        ends[[stop for stop in self.stops if stop < len(ends)]] = True
        owner = torch.arange(len(prompts), device=device).repeat_interleave(k)
        cache.batch_select_indices(owner)
        logits, mask = logits[owner], mask[owner]
        drawn = torch.zeros(n, length, dtype=torch.long, device=device)
        logp = torch.zeros(n, length, dtype=logits.dtype, device=device)
        lengths = torch.zeros(n, dtype=torch.long, device=device)
        live, unfinished = torch.arange(n, device=device), torch.ones(n, dtype=torch.bool, device=device)
        for t in range(length):
            table = logits.log_softmax(-1)
            token = table.argmax(-1) if uniforms is None else _invert(table, uniforms[live, t])
            drawn[live, t] = token
            logp[live, t] = table.gather(-1, token.unsqueeze(-1)).squeeze(-1)
            lengths[live] += unfinished
            unfinished = unfinished & ~ends[token]
            left = int(unfinished.sum())
            if t + 1 == length or not left:
                break
            if left <= COMPACT_BELOW_SHARE * len(unfinished):
                keep = unfinished.nonzero().squeeze(1)
                cache.batch_select_indices(keep)
                live, unfinished, token, mask = live[keep], unfinished[keep], token[keep], mask[keep]
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            logits = self._logits(token.unsqueeze(1), mask, cache)
        counts = torch.arange(length, device=device) < lengths.unsqueeze(1)
        truncated = torch.zeros(n, dtype=torch.bool, device=device)
        truncated[live] = unfinished
        return EngineOutput(drawn * counts, lengths, truncated, logp * counts)

    def _logits(self, tokens: Tensor, mask: Tensor, cache) -> Tensor:
        """Logits (N,V) after the last of tokens (N,n), in float32 or better; `mask` also covers the cached tokens."""
        last = tokens.new_full((1,), -1)  # of a slice torch would copy the weights of the head
        out = self.model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=position_ids(mask)[:, -tokens.shape[1] :],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=last,
        ).logits[:, -1]
        return out if out.dtype == torch.float64 else out.float()


def _invert(table: Tensor, uniforms: Tensor) -> Tensor:
    """Tokens (N,) drawn from log-probs (N,V) by inverting their distributions at uniforms (N,)."""
    cdf = table.exp().cumsum(-1)
    # rounding leaves the last entry a little off 1
    below = uniforms.to(cdf).unsqueeze(1) * cdf[:, -1:]
    return torch.searchsorted(cdf, below, right=True).squeeze(1).clamp_max(table.shape[1] - 1)
