"""Strings share prefixes: a forward pass over their trie computes each prefix once, and gradients stay exact."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Trie:
    """Distinct prefixes of the answers (S,P,K,T) to each prompt, as nodes in order of depth.

    Layers that look at one token at a time run over `rows`: the nodes of all prompts, U of them, in one line. Attention
    runs over `tiles`: one of M nodes per prompt. Nothing reads what attention writes to a gap, where a prompt has fewer
    nodes, or to the copy of a row that several prompts share.

    tokens  (S,U)      last token of each node
    depths  (S,U)      length of a node's prefix, less 1
    slots   (S,U)      the place of each row among the P*M of the tiles
    rows    (S,P*M)    the row in each place of the tiles, any row in a gap
    real    (S,P*M)    false in a gap and in a copy
    has_copies         whether a row may be in several places
    places  (S,P,K,T)  the row of each prefix of each answer
    attends_to  (S,P,M,L)  whether a node attends to each of the L nodes of the whole trie of its prompt
    """

    tokens: Tensor
    depths: Tensor
    slots: Tensor
    rows: Tensor
    real: Tensor
    places: Tensor
    attends_to: Tensor
    has_copies: bool = False

    @property
    def is_chain(self) -> bool:
        """Whether each prompt has a single answer, so that tiles hold the rows in their order."""
        return self.places.shape[2] == 1 and not self.has_copies


class ChainMap:
    """Between rows and tiles in the same order, where each of the heads attends on its own."""

    def __init__(self, nodes: Trie, heads: int):
        self.shape, self.heads = (len(nodes.tokens), *nodes.attends_to.shape[1:3]), heads

    def to_tiles(self, qkv: Tensor) -> Tensor:
        """Queries, keys and values (3,S,P,heads,M,hd) from rows (S,U,3*heads*hd)."""
        return qkv.view(*self.shape, 3, self.heads, -1).permute(3, 0, 1, 4, 2, 5).contiguous()

    def to_rows(self, x: Tensor) -> Tensor:
        """Rows (S,U,heads*hd) from tiles (S,P,heads,M,hd)."""
        return x.transpose(2, 3).reshape(len(x), self.shape[1] * self.shape[2], -1)


class TileMap:
    """Between rows and tiles, where each of the heads attends on its own."""

    def __init__(self, nodes: Trie, heads: int):
        (s, u), (p, m), device = nodes.slots.shape, nodes.attends_to.shape[1:3], nodes.slots.device
        seed, head, part = (torch.arange(n, device=device) for n in (s, heads, 3))
        row = (seed.view(-1, 1) * u + nodes.rows).view(s, p, 1, m)  # among the S*U
        tile = (seed.view(-1, 1) * p + nodes.slots // m).view(s, u, 1) * heads + head  # among the S*P*heads
        slot = tile * m + (nodes.slots % m).unsqueeze(-1)
        self.shape, self.heads, self.real = (s, p, heads, m, -1), heads, nodes.real.view(s, p, 1, m, 1)
        self.has_copies = nodes.has_copies
        self.to_tile = row * heads + head.view(-1, 1)
        self.to_row = slot
        self.parts_to_tile = (row * 3 + part.view(-1, 1, 1, 1, 1)) * heads + head.view(-1, 1)
        self.parts_to_row = part.view(-1, 1) * (s * p * heads * m) + slot.unsqueeze(2)

    def to_tiles(self, qkv: Tensor) -> Tensor:
        """Queries, keys and values (3,S,P,heads,M,hd) from rows (S,U,3*heads*hd); a gap holds no meaning."""
        x = qkv.view(-1, qkv.shape[-1] // (3 * self.heads))
        if self.has_copies:
            return x.index_select(0, self.parts_to_tile.flatten()).view(3, *self.shape)
        return _Move.apply(x, self.parts_to_tile, self.parts_to_row, None).view(3, *self.shape)

    def to_rows(self, x: Tensor) -> Tensor:
        """Rows (S,U,heads*hd) from tiles (S,P,heads,M,hd)."""
        return _Move.apply(x.flatten(0, 3), self.to_row, self.to_tile, self.real).flatten(2)


class _Move(torch.autograd.Function):
    """Selects rows of x (N,D) by an index without repetitions.

    The backward pass selects by the inverse index, which is faster than a scatter-add.
    """

    @staticmethod
    def forward(ctx, x, index, back, real):
        ctx.back, ctx.real, ctx.size = back, real, x.shape
        return x.index_select(0, index.flatten()).view(*index.shape, -1)

    @staticmethod
    def backward(ctx, grad):
        grad = grad.reshape(-1, grad.shape[-1]).index_select(0, ctx.back.flatten()).view(*ctx.back.shape, -1)
        if ctx.real is not None:
            grad *= ctx.real
        return grad.view(ctx.size), None, None, None


def build_trie(answers: Tensor, start: int = 0) -> Trie:
    """The `Trie` of answers (S,P,K,T), of its nodes of depth >= `start` alone."""
    s, p, k, length = answers.shape
    if k == 1:
        return _build_chain(answers.squeeze(2), start)
    # whether two answers (K,K) agree up to each length
    equal = (answers.unsqueeze(3) == answers.unsqueeze(2)).cumprod(-1, dtype=torch.uint8)
    # the first answer that has this prefix; amax is eight times faster than argmax here
    owner = k - (equal * torch.arange(k, 0, -1, dtype=torch.int16, device=answers.device).view(-1, 1)).amax(3).long()
    new = owner == torch.arange(k, device=answers.device).view(-1, 1)
    counts = new.sum(2)
    widths = counts.amax((0, 1))
    *sizes, most = torch.cat([widths, counts[..., start:].sum((1, 2)).amax().view(1)]).tolist()  # a GPU waits here once
    depths = torch.arange(length, device=answers.device).repeat_interleave(widths, output_size=sum(sizes))
    places = (widths.cumsum(0) - widths + new.cumsum(2) - 1).gather(2, owner).flatten(2)  # in the tile of the prompt
    nodes = places.new_full((s, p, len(depths)), -1).scatter_(2, places, owner.flatten(2))
    owners, real = nodes.clamp_min(0), nodes >= 0
    index = owners * length + depths
    sees = equal.flatten(3).gather(3, index.unsqueeze(2).expand(-1, -1, k, -1)).bool() & real.unsqueeze(2)
    sees = sees.gather(2, owners.unsqueeze(3).expand(-1, -1, -1, len(depths))) & (depths <= depths.view(-1, 1))
    tokens = answers.flatten(2).gather(2, index)

    first = sum(sizes[:start])
    width, real = len(depths) - first, real[..., first:].flatten(1)
    slots = (~real).byte().argsort(dim=1, stable=True)[:, :most]
    rows = torch.zeros_like(real, dtype=torch.long)
    rows.scatter_(1, slots, torch.arange(slots.shape[1], device=rows.device).expand_as(slots))
    tile = torch.arange(p, device=answers.device).view(-1, 1, 1)
    in_tiles = (places.view(answers.shape)[..., start:] - first + width * tile).flatten(1)
    return Trie(
        tokens=tokens[..., first:].flatten(1).gather(1, slots),
        depths=depths[first:][slots % width],
        slots=slots,
        rows=rows,
        real=real,
        places=rows.gather(1, in_tiles).view(s, p, k, -1),
        attends_to=sees[:, :, first:],
    )


def _build_chain(answers: Tensor, start: int) -> Trie:
    """`build_trie` of one answer (S,P,T) to each prompt, whose prefixes are all distinct."""
    s, p, length = answers.shape
    depths = torch.arange(length, device=answers.device)
    rows = torch.arange(p * (length - start), device=answers.device).expand(s, -1)
    return Trie(
        tokens=answers[..., start:].flatten(1),
        depths=depths[start:].repeat(p).expand(s, -1),
        slots=rows,
        rows=rows,
        real=torch.ones_like(rows, dtype=torch.bool),
        places=rows.view(s, p, 1, -1),
        attends_to=(depths <= depths[start:].unsqueeze(1)).expand(s, p, -1, -1),
    )


def build_prompt_trie(strings: Tensor, vocab: int) -> Trie:
    """The `Trie` of strings (S,P,T) as the only answers to their prompts, which share the rows of equal prefixes."""
    nodes, length = build_trie(strings.unsqueeze(2)), strings.shape[2]
    if vocab**length * length >= 2**62:  # prefixes no longer fit into one integer
        return nodes
    depth = torch.arange(length, device=strings.device)
    codes = (strings * vocab ** (length - 1 - depth)).cumsum(-1) * length + depth
    first, rank = _distinct(codes.flatten(1))
    return replace(
        nodes,
        tokens=nodes.tokens.gather(1, first),
        depths=nodes.depths.gather(1, first),
        slots=first,
        rows=rank,
        real=torch.zeros_like(nodes.real).scatter_(1, first, True),
        places=rank.view(nodes.places.shape),
        has_copies=True,
    )


def _distinct(codes: Tensor) -> tuple[Tensor, Tensor]:
    """For codes (S,N): where (S,U) each distinct code is first, and which (S,N) of them each code is.

    U is the largest count of any seed; seeds with fewer repeat a place whose number no code has.
    """
    ordered, order = codes.sort(dim=1)
    rank = torch.zeros_like(codes)
    rank[:, 1:] = (ordered[:, 1:] != ordered[:, :-1]).cumsum(1)
    places = torch.empty_like(codes).scatter_(1, order, rank)
    first = torch.zeros_like(codes[:, : int(rank.max()) + 1])
    return first.scatter_reduce_(1, rank, order, "amin", include_self=False), places
