"""A prompt and its completions as a tree of tokens, one row of a forward pass that computes each prefix once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Completions = Sequence[Sequence[int]]
MAX_TOKENS = 1024  # of a prompt with all of its completions: attention takes the square of them


class PrefixTree:
    """The tokens of a prompt and of its completions without their last ones, U in all, each a child of the one before.

    tokens   U       completions that start alike go through the same nodes
    visible  (U,U)   whether node i attends to node j, which is i or an ancestor
    depths   (U,)    number of ancestors
    places           for each completion, the nodes from which its tokens are predicted
    """

    def __init__(self, prompt: Sequence[int], completions: Completions):
        self.tokens, parents = list(prompt), list(range(-1, len(prompt) - 1))
        children: dict[tuple[int, int], int] = {}
        self.places: list[list[int]] = []
        for completion in completions:
            path = [len(prompt) - 1]
            for token in completion[:-1]:
                edge = path[-1], token
                if edge not in children:
                    children[edge] = len(parents)
                    self.tokens.append(token)
                    parents.append(path[-1])
                path.append(children[edge])
            self.places.append(path)
        self.visible = np.eye(len(parents), dtype=bool)
        for node, parent in enumerate(parents[1:], start=1):
            self.visible[node] |= self.visible[parent]
        self.depths = self.visible.sum(axis=1) - 1


def fits(config: Any, prompts: Sequence[Sequence[int]], completions: Sequence[Completions]) -> bool:
    """Whether no prompt with its completions is long, and every layer attends to whatever a mask allows."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    # a layer with a window or a recurrent state reads its tokens in order
    free = all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)
    masked = config._attn_implementation in ("eager", "sdpa")
    longest = max(len(prompt) + sum(map(len, group)) for prompt, group in zip(prompts, completions, strict=True))
    return free and masked and longest <= MAX_TOKENS


def batch(trees: Sequence[PrefixTree], device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Trees of at most U nodes as tokens, depths (B,U) and what each node sees (B,U,U), and the places of all tokens.

    The places count over the B * U nodes, completion by completion. Padding sees itself alone.
    """
    size = max(len(tree.tokens) for tree in trees)
    tokens, depths = np.zeros((2, len(trees), size), dtype=np.int64)
    visible = np.broadcast_to(np.eye(size, dtype=bool), (len(trees), size, size)).copy()
    for row, tree in enumerate(trees):
        count = len(tree.tokens)
        tokens[row, :count], depths[row, :count], visible[row, :count, :count] = tree.tokens, tree.depths, tree.visible
    places = [row * size + node for row, tree in enumerate(trees) for path in tree.places for node in path]
    arrays = tokens, depths, visible, np.array(places)
    return tuple(torch.from_numpy(array).to(device) for array in arrays)
