"""How published losses average over tokens and sequences: x (*L,B,K,T) of one token each -> (*L,).

mask (*L,B,K,T) may broadcast; weight (*L,B,K) are the draws behind each sequence, N of them in all. What weighs 0
counts neither in the sums nor in N, and where nothing weighs the result is 0.
"""

from torch import Tensor

from algorithms.base import TINY, token_sum
from algorithms.ratios import lengths, token_average


def seq_mean(x: Tensor, weight: Tensor) -> Tensor:
    """(1/N) sum_i w_i x_i over all sequences of all contexts: (*L,B,K) -> (*L,)."""
    return (weight * x).sum((-1, -2)) / weight.sum((-1, -2)).clamp_min(TINY)


def seq_mean_token_mean(x: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """(1/N) sum_i (1/|y_i|) sum_t: sequences count alike, and a token less the longer its sequence."""
    return seq_mean(token_average(x, mask), weight)


def seq_mean_token_sum(x: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """(1/N) sum_i sum_t: the gradient of an expectation over sequences."""
    return seq_mean(token_sum(x, mask), weight)


def token_mean(x: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """sum_i sum_t / sum_i |y_i|: tokens count alike."""
    tokens = (weight * lengths(x, mask)).sum((-1, -2)).clamp_min(TINY)
    return (weight * token_sum(x, mask)).sum((-1, -2)) / tokens


def seq_mean_token_sum_norm(x: Tensor, mask: Tensor, weight: Tensor, budget: float | None = None) -> Tensor:
    """(1/N) sum_i (1/L) sum_t with L = `budget` tokens, or the room that the batch has for them."""
    return seq_mean_token_sum(x, mask, weight) / (budget or x.shape[-1])
