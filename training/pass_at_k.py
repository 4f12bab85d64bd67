"""pass@k: the chance that at least one of k sampled answers is right."""

import math
import statistics
from collections.abc import Sequence

LARGEST = 64


def pass_at_k(n: int, right: int, k: int) -> float:
    """Unbiased estimate from n answers, c of them right: 1 - C(n - c, k) / C(n, k), for 1 <= k <= n.

    https://arxiv.org/abs/2107.03374, equation 1
    """
    every = math.comb(n, k)
    return (every - math.comb(n - right, k)) / every  # of integers, so that nothing is lost before the division


def mean_pass_at_k(n: int, right: Sequence[int]) -> dict[int, float]:
    """{k: mean over problems of which right[i] of n answers are right}, for k = 1, 2, 4, ... up to n and LARGEST."""
    counts = [2**i for i in range(LARGEST.bit_length()) if 2**i <= n]
    return {k: statistics.fmean(pass_at_k(n, c, k) for c in right) for k in counts}
