"""A prompt and its completions as a tree of tokens, one row of a forward pass that computes each prefix once.

`models.trie` is this for the stacked transformer, whose answers all have one length.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rollouts.prompts import attends_to_all, empty_cache

MAX_NODES = 1024  # attention takes the square of them


class PrefixTree:
    """The tokens of a prompt and of its completions without their last ones, each a child of the one before it.

    tokens   of the U nodes; completions that start alike go through the same nodes
    parents  of the nodes, -1 for the first
    places   for each completion, the nodes from which its tokens are predicted
    """

    def __init__(self, prompt: Sequence[int], completions: Sequence[Sequence[int]]):
        self.tokens, self.parents = list(prompt), list(range(-1, len(prompt) - 1))
        self.places: list[list[int]] = []
        children: dict[tuple[int, int], int] = {}
        for completion in completions:
            path = [len(prompt) - 1]
            for token in completion[:-1]:
                edge = path[-1], token
                if edge not in children:
                    children[edge] = len(self.tokens)
                    self.tokens.append(token)
                    self.parents.append(path[-1])
                path.append(children[edge])
            self.places.append(path[: len(completion)])

    def visible(self) -> np.ndarray:
        """Whether node i attends to node j (U,U): to itself and to its ancestors."""
        visible = np.eye(len(self.parents), dtype=bool)
        for node, parent in enumerate(self.parents[1:], start=1):
            visible[node] |= visible[parent]
        return visible


def takes_trees(causal_lm: Any) -> bool:
    """Whether all layers attend to what a mask allows, at the positions that are given.

    Layers with a window or a state read their tokens in order. A model whose attention transformers cannot exchange may
    ignore both.
    """
    config = causal_lm.config
    exchangeable = getattr(causal_lm, "_supports_attention_backend", False)
    return attends_to_all(empty_cache(config)) and exchangeable and config._attn_implementation == "sdpa"


def are_small(trees: Sequence[PrefixTree], tokens: int) -> bool:
    """Whether trees, padded to the largest, have no more nodes than there would be `tokens` without them."""
    largest = max(len(tree.tokens) for tree in trees)
    return largest <= MAX_NODES and len(trees) * largest <= tokens


def batch(trees: Sequence[PrefixTree], device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Trees of at most U nodes as tokens, depths (B,U) and what each node sees (B,U,U), and the places of all tokens.

    The places count over the B * U nodes, completion by completion. Padding sees itself alone.
    """
    size = max(len(tree.tokens) for tree in trees)
    tokens = np.zeros((len(trees), size), dtype=np.int64)
    visible = np.broadcast_to(np.eye(size, dtype=bool), (len(trees), size, size)).copy()
    for row, tree in enumerate(trees):
        count = len(tree.tokens)
        tokens[row, :count], visible[row, :count, :count] = tree.tokens, tree.visible()
    places = [row * size + node for row, tree in enumerate(trees) for path in tree.places for node in path]
    arrays = tokens, visible.sum(axis=2) - 1, visible, np.array(places)
    return tuple(torch.from_numpy(array).to(device) for array in arrays)
