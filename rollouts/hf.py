"""Completions drawn by the training model itself.

Completions to a prompt that are alike so far pass through the model as one row, and so does a prefix that all prompts
share.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rollouts.base import Engine, EngineOutput
from rollouts.prompts import Prompts, pass_prompts, position_ids, prefix_cache
from rollouts.weights import copy_weights, low_precision_copy


class HFEngine(Engine):
    """Draws with a transformers model and its cache, whole groups at a time: `rows` completions at most, or one group.

    dtype  of a copy of the weights from which it draws, made anew by each push; None: it draws from the model itself
    """

    def __init__(self, stops: Sequence[int], rows: int, dtype: torch.dtype | None = None):
        self.stops, self.rows, self.dtype = list(stops), rows, dtype
        self.model = None

    def push(self, model) -> None:
        if self.dtype is None:
            self.model = model
            return
        if self.model is None:
            self.model = low_precision_copy(model, self.dtype)
        copy_weights(model, self.model)

    @torch.no_grad()
    def generate(self, prompts, k, uniforms) -> EngineOutput:
        size = max(1, self.rows // k)
        cache, shared = prefix_cache(self._logits, prompts, self.model.config, self.model.device)
        parts = []
        for i in range(0, len(prompts), size):
            numbers = uniforms[i * k : (i + size) * k]
            parts.append(self._generate(prompts[i : i + size], k, numbers, copy.deepcopy(cache), shared))
        fields = ("tokens", "lengths", "truncated", "logp")
        return EngineOutput(*(torch.cat([getattr(part, field) for part in parts]) for field in fields))

    def _generate(self, prompts: Prompts, k: int, uniforms: Tensor, cache: Any, shared: int) -> EngineOutput:
        device, (n, length) = self.model.device, uniforms.shape
        logits, mask = pass_prompts(self._logits, prompts, cache, shared, device)
        ends = torch.zeros(logits.shape[1], dtype=torch.bool, device=device)
        ends[[stop for stop in self.stops if stop < len(ends)]] = True
        drawn = torch.zeros(n, length, dtype=torch.long, device=device)
        logp = torch.zeros(n, length, dtype=logits.dtype, device=device)
        lengths = torch.zeros(n, dtype=torch.long, device=device)
        live = torch.arange(n, device=device)  # the completions that have not ended
        row = live // k  # of the batch, after which each of them goes on
        for t in range(length):
            table = logits.log_softmax(-1)
            token = _choose(table, row, uniforms[live, t])
            drawn[live, t], logp[live, t] = token, table[row, token]
            lengths[live] += 1
            unfinished = ~ends[token]
            live, row, token = live[unfinished], row[unfinished], token[unfinished]
            if t + 1 == length or not len(live):
                break
            edges, row = (row * table.shape[1] + token).unique(return_inverse=True)
            parents, token = edges // table.shape[1], edges % table.shape[1]
            if not torch.equal(parents, torch.arange(len(mask), device=device)):
                cache.reorder_cache(parents)
                mask = mask[parents]
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            logits = self._logits(token.unsqueeze(1), mask, cache)
        truncated = torch.zeros(n, dtype=torch.bool, device=device)
        truncated[live] = True
        return EngineOutput(drawn, lengths, truncated, logp)

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


def _choose(table: Tensor, rows: Tensor, uniforms: Tensor) -> Tensor:
    """Tokens (N,) drawn from log-probs table[rows] (N,V) by inversion at uniforms (N,), the likeliest one for NaN."""
    cdf = table.exp().cumsum(-1)[rows]
    # rounding leaves the last entry a little off 1
    below = uniforms.to(cdf).unsqueeze(1) * cdf[:, -1:]
    drawn = torch.searchsorted(cdf, below, right=True).squeeze(1).clamp_max(table.shape[1] - 1)
    return torch.where(uniforms.isnan(), table.argmax(-1)[rows], drawn)
