"""Equal inputs need one forward pass: find them, compute each once, hand the result to all; gradients stay exact."""

import torch
from torch import Tensor


def distinct(codes: Tensor) -> tuple[Tensor, Tensor]:
    """For codes (S,N): rows (S,U) that hold each distinct code once, and the place (S,N) of each code among them.

    U is the largest count of any seed; seeds with fewer repeat a row that no place points to.
    """
    ordered, order = codes.sort(dim=1)
    rank = torch.zeros_like(codes)
    rank[:, 1:] = (ordered[:, 1:] != ordered[:, :-1]).cumsum(1)
    places = torch.empty_like(codes).scatter_(1, order, rank)
    rows = torch.zeros_like(codes[:, : int(rank.max()) + 1])
    return rows.scatter_reduce_(1, rank, order, "amin", include_self=False), places


def take(x: Tensor, index: Tensor) -> Tensor:
    """x (S,N,...) at index (S,M): (S,M,...)."""
    s, n = x.shape[:2]
    offsets = torch.arange(s, device=x.device).unsqueeze(1) * n
    return x.flatten(0, 1).index_select(0, (index + offsets).flatten()).view(*index.shape, *x.shape[2:])


def groups_of(answers: Tensor) -> Tensor:
    """Index of the prompt (S, B*K) behind each of answers (S,B,K,...)."""
    s, b, k = answers.shape[:3]
    return torch.arange(b, device=answers.device).repeat_interleave(k).expand(s, -1)


def can_code(groups: int, vocab: int, length: int) -> bool:
    """Whether a group and a string of `length` tokens fit into one integer."""
    return groups * vocab**length < 2**62
