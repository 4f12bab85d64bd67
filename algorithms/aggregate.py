"""Averages over tokens and sequences, as published losses use them: (*L,B,K,T) -> (*L,).

x (*L,B,K,T) holds one value per token; mask (*L,B,K,T) may broadcast. weight (*L,B,K) is the number of draws that each
sequence stands for, and N is their sum. A sequence of weight 0 counts neither in the sums nor in N. Where all weights
are 0, the result is 0.
"""

from torch import Tensor

from algorithms.base import TINY, token_sum
from algorithms.ratios import lengths, token_average


def seq_mean(x: Tensor, weight: Tensor) -> Tensor:
    """(1/N) sum_i w_i x_i over all sequences of all contexts: (*L,B,K) -> (*L,)."""
    return (weight * x).sum((-1, -2)) / weight.sum((-1, -2)).clamp_min(TINY)


def seq_mean_token_mean(x: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """(1/N) sum_i (1/|y_i|) sum_t: every sequence has the same weight, whatever its length."""
    return seq_mean(token_average(x, mask), weight)


def seq_mean_token_sum(x: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """(1/N) sum_i sum_t: its gradient is that of an expectation over sequences."""
    return seq_mean(token_sum(x, mask), weight)


def token_mean(x: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """sum_i sum_t / sum_i |y_i|: every token has the same weight."""
    tokens = (weight * lengths(x, mask)).sum((-1, -2)).clamp_min(TINY)
    return (weight * token_sum(x, mask)).sum((-1, -2)) / tokens


def weight_of_unequal_groups(weight: Tensor, advantage: Tensor) -> Tensor:
    """`weight` (*L,B,K), set to 0 in a group where every advantage (*L,B,K) is 0: it has equal scores."""
    return weight * (advantage != 0).any(-1, keepdim=True)
