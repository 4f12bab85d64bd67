"""A causal language model of transformers as a policy: prompts are contexts, completions are candidates."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models import prefix_tree
from models.base import Policy
from models.head import token_logp
from models.prefix_tree import PrefixTree
from rollouts.base import Engine, EngineOutput
from rollouts.prompts import Prompts, empty_cache, has_states, pass_prompts, position_ids, prefix_cache
from rollouts.weights import without_adapters


class LanguagePolicy(Policy):
    """A policy of one seed, S = 1. Prompts (1,B,P) are padded on the left, completions (1,B,K,T) on the right, by -1.

    `model` is a transformers model, which may have peft's adapters. The state holds the trained parameters only.

    made_from  settings, seed and files of the model: two policies that were made from the same are equal at first
    """

    def __init__(
        self, model: Any, tokenizer: Any, engine: Engine, max_mismatch: float, checkpointing: bool, made_from: tuple
    ):
        super().__init__()
        self.model, self.tokenizer, self.engine = model.eval(), tokenizer, engine
        self.end_tokens = end_tokens(model, tokenizer)
        self.max_mismatch = max_mismatch
        self.checkpointing, self.has_adapters = checkpointing, hasattr(model, "disable_adapter")
        self._pushed: list[int] | None = None
        self._made_from, self._made_at = made_from, self._version()
        self.takes_trees = prefix_tree.takes_trees(self.causal_lm)
        self.has_states = has_states(empty_cache(self.causal_lm.config))
        self.vocab = self.causal_lm.get_output_embeddings().weight.shape[0]
        if checkpointing:
            self.causal_lm.gradient_checkpointing_enable({"use_reentrant": False})

    @property
    def causal_lm(self) -> Any:
        """The model below its adapters."""
        return without_adapters(self.model)

    @property
    def window(self) -> int | None:
        """The largest number of tokens of a prompt with its completion; None: no limit."""
        return getattr(self.causal_lm.config.get_text_config(), "max_position_embeddings", None)

    def complete(self, prompts: Sequence[Sequence[int]], k: int, uniforms: Tensor) -> EngineOutput:
        """Completions that the engine draws from the current weights (`rollouts.base.Engine.generate`)."""
        if self._version() != self._pushed:
            self.engine.push(self.model)
            self._pushed = self._version()
        return self.engine.generate(prompts, k, uniforms)

    @property
    def origin(self) -> tuple | None:
        """What the policy was made from; None once its weights were changed in place."""
        return self._made_from if self._version() == self._made_at else None

    def _version(self) -> list[int]:
        """Numbers that tell whether the weights have changed."""
        return [p._version for p in self._trainable_parameters().values()]

    def logp(self, contexts, candidates) -> Tensor:
        """Log-probs, 0 for padding. Identical prompts pass through the model once, as do identical completions."""
        length = candidates.shape[-1]
        prompts, owner = contexts[0].unique(dim=0, return_inverse=True)
        owner = owner.repeat_interleave(candidates.shape[2]).unsqueeze(1)
        rows, inverse = torch.cat([owner, candidates.reshape(-1, length)], dim=1).unique(dim=0, return_inverse=True)
        owner, rows = rows[:, 0], rows[:, 1:]
        real = rows >= 0
        hidden = self._hidden(_trim(prompts), owner, _trim(rows))
        head = self.causal_lm.get_output_embeddings()
        found = token_logp(hidden, head, rows[real], self.vocab)
        logp = torch.zeros(rows.shape, dtype=found.dtype, device=found.device).masked_scatter(real, found)
        return logp.index_select(0, inverse).view(candidates.shape)

    def _hidden(self, prompts: Tensor, owner: Tensor, rows: Tensor) -> Tensor:
        """States (n,D) from which the n tokens of completions `rows` (N,T), sorted by prompts[owner], are predicted.

        A prefix that all prompts share passes through the model once, and so does each prompt for all of its
        completions.
        """
        if self.has_states or (self.checkpointing and torch.is_grad_enabled()):
            return self._hidden_in_rows(prompts, owner, rows)
        given, is_given = rows[:, :-1].clamp_min(0), rows[:, :-1] >= 0
        listed = _listed(prompts)
        cache, shared = prefix_cache(self._states, listed, self.causal_lm.config, prompts.device)
        if self.takes_trees:
            trees = _trees([prompt[shared:] for prompt in listed], owner, rows)
            if prefix_tree.are_small(trees, given.numel() + prompts[:, shared:].numel()):
                return self._hidden_in_trees(trees, cache, shared)
        states, mask = pass_prompts(self._states, listed, cache, shared, prompts.device)
        last = states[:, -1:].index_select(0, owner)
        if not given.shape[1]:
            return last.squeeze(1)
        cache.reorder_cache(owner)
        following = self._states(given, torch.cat([mask[owner], is_given], dim=1), cache)
        return torch.cat([last, following], dim=1)[rows >= 0]

    def _hidden_in_rows(self, prompts: Tensor, owner: Tensor, rows: Tensor) -> Tensor:
        """The states of `_hidden`, where each completion passes with its prompt and without a cache.

        A layer that is computed twice cannot grow a cache, and one with a state changes it in place.
        """
        tokens = torch.cat([prompts[owner], rows[:, :-1]], dim=1)
        mask = tokens >= 0
        # padding comes last: a state would take it in
        order = mask.int().argsort(dim=1, descending=True, stable=True)
        with self._recomputing_layers() if torch.is_grad_enabled() else nullcontext():
            states = self._states(tokens.clamp_min(0).gather(1, order), mask.gather(1, order), None)
        places = mask.cumsum(1)[:, prompts.shape[1] - 1 :] - 1
        row, column = (rows >= 0).nonzero(as_tuple=True)
        return states[row, places[row, column]]

    def _hidden_in_trees(self, trees: list[PrefixTree], cache: Any, shared: int) -> Tensor:
        """The states of `_hidden`, where a prefix that completions share passes through the model once, too."""
        if shared:
            cache.batch_repeat_interleave(len(trees))
        tokens, depths, visible, places = prefix_tree.batch(trees, self.causal_lm.device)
        visible = torch.cat([visible.new_ones(*tokens.shape, shared), visible], dim=-1).unsqueeze(1)
        dtype = self.causal_lm.dtype
        mask = torch.zeros_like(visible, dtype=dtype).masked_fill(~visible, torch.finfo(dtype).min)
        states = self._states(tokens, mask, cache if shared else None, depths + shared)
        return states.flatten(0, 1).index_select(0, places)

    def _states(self, tokens: Tensor, mask: Tensor, cache: Any, positions: Tensor | None = None) -> Tensor:
        """Last hidden states (N,n,D) of tokens (N,n); `mask` (N,L) covers those in the cache too.

        A mask (N,1,n,L) is added to the scores of attention, and comes with `positions` (N,n).
        """
        if positions is None:
            mask = mask.long()
            positions = position_ids(mask)[:, -tokens.shape[1] :]
        return self.causal_lm.get_decoder()(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state

    @contextmanager
    def _recomputing_layers(self) -> Iterator[None]:
        """Layers keep no activations. transformers does so only in training mode, so the layers are set to it here."""
        layers = [m for m in self.causal_lm.modules() if getattr(m, "gradient_checkpointing", False)]
        for layer in layers:
            layer.training = True
        try:
            yield
        finally:
            for layer in layers:
                layer.training = False

    def close(self) -> None:
        self.engine.close()
        self._pushed = None

    def frozen_copy(self) -> Policy:
        if self.has_adapters:
            return ReferenceWithoutAdapters(self)
        frozen = copy.copy(self)  # without a copy of the engine, which may be large
        frozen._modules = {"model": copy.deepcopy(self.model).requires_grad_(False)}
        return frozen

    def _trainable_parameters(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def state_dict(self, *args, **kwargs) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self._trainable_parameters().items()}

    @torch.no_grad()
    def load_state_dict(self, state, *args, **kwargs) -> None:
        """Raises ValueError for the state of another model."""
        mine = self._trainable_parameters()
        if {n: p.shape for n, p in mine.items()} != {n: p.shape for n, p in state.items()}:
            raise ValueError("the checkpoint is of another model; force=true starts over")
        for name, p in mine.items():
            p.copy_(state[name])

    def export(self, folder: Path) -> None:
        """Write model (or adapters) and tokenizer, so that transformers' from_pretrained(folder) loads them."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


class ReferenceWithoutAdapters:
    """The frozen model below the adapters of a policy, as a reference policy that needs no memory of its own."""

    def __init__(self, policy: LanguagePolicy):
        self.policy = policy

    def logp(self, contexts: Tensor, candidates: Tensor) -> Tensor:
        with self.policy.model.disable_adapter():
            return self.policy.logp(contexts, candidates)


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end a completion, from the model's generation settings and from the tokenizer."""
    found = getattr(model.generation_config, "eos_token_id", None)
    found = found if isinstance(found, list) else [found]
    return sorted({token for token in (*found, tokenizer.eos_token_id) if token is not None})


def tokens_with(character: str, tokenizer: Any) -> list[int]:
    """The tokens whose text holds a character of ASCII, which is never split between two tokens."""
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))], clean_up_tokenization_spaces=False)
    return [i for i, text in enumerate(texts) if character in text]


def _trees(prompts: Prompts, owner: Tensor, rows: Tensor) -> list[PrefixTree]:
    """The tree of each prompt with those of the completions `rows` (N,T) that are to it."""
    groups: list[list[list[int]]] = [[] for _ in prompts]
    for i, row in zip(owner.tolist(), _listed(rows), strict=True):
        groups[i].append(row)
    return [PrefixTree(prompt, group) for prompt, group in zip(prompts, groups, strict=True)]


def _listed(rows: Tensor) -> list[list[int]]:
    """Rows of tokens without their padding."""
    return [[token for token in row if token >= 0] for row in rows.tolist()]


def _trim(x: Tensor) -> Tensor:
    """x (N,L) without the columns that hold only padding."""
    return x[:, (x >= 0).any(0)]
