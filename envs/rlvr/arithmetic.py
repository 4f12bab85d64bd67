"""Sums in digits: the task for language models that needs no download and fits a model of any size."""

import functools
import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from algorithms.base import require
from envs.rlvr import tokens
from envs.rlvr.base import Problem, TextEnv
from envs.rlvr.splits import Generated


@dataclass(frozen=True)
class Arithmetic(TextEnv):
    """Sums such as "12+345=" of `terms` numbers below 10**digits; reward 1 for exactly the digits of the sum, else 0.

    More terms and digits make right answers rarer: with an untrained model nearly none, after a warm start any share.
    With `working` a right answer to "7+8+9=" is "15=24", one total after the other: what comes after the last "=" is
    graded alone, so a completion may be as long as a chain of thought. Sums of the same numbers in another order are in
    the same split.
    """

    name = "arithmetic"
    rule = "envs.rlvr.rules:total"
    warm_accuracy = 0.4

    terms: int = 2
    digits: int = 3
    working: bool = False
    batch: int = 16
    candidates: int = 16
    max_new_tokens: int = 8

    def __post_init__(self):
        super().__post_init__()
        require(2 <= self.terms <= 100, "terms", self.terms, "between 2 and 100")
        require(1 <= self.digits <= 100, "digits", self.digits, "between 1 and 100")
        totals = range(2, self.terms + 1) if self.working else (self.terms,)
        longest = sum(len(str(n * (10**self.digits - 1))) + 1 for n in totals)
        allowed = f">= {longest}, the longest right answer and an end-of-sequence token"
        require(self.max_new_tokens >= longest, "max_new_tokens", self.max_new_tokens, allowed)

    def problems(self, split: str) -> Sequence[Problem]:
        return _problems(self, split)

    def problem(self, number: int) -> tuple[str, Problem]:
        """A key that does not depend on the order of the terms, and the sum with this number."""
        size = self.digits // 2 + 8  # bytes: so many more than needed that all values are equally likely
        noise = hashlib.shake_128(f"{self.terms},{self.digits},{number}".encode()).digest(self.terms * size)
        values = [int.from_bytes(noise[i : i + size]) % 10**self.digits for i in range(0, len(noise), size)]
        totals = [str(total) for total in itertools.accumulate(values)][1:]
        answer = "=".join(totals) if self.working else totals[-1]
        facts = {"answer": totals[-1], "working": self.working}
        return ",".join(map(str, sorted(values))), Problem("+".join(map(str, values)) + "=", answer, facts)

    def tokenizer(self) -> Any:
        return tokens.characters("0123456789+=")


@functools.cache
def _problems(env: Arithmetic, split: str) -> Generated:
    return Generated(split, env.problem)
