"""Which problems are held out: decided by a hash of what is asked, so that no split ever sees another's question."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from envs.rlvr.base import Problem

ATTEMPTS = 10_000
SIZES = {"train": 1_000_000, "validation": 1000, "test": 1000}


def fraction(key: str) -> float:
    """A number in [0, 1) that depends on `key` alone, on every machine."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=6).digest()) / 2**48


def split_of(key: str) -> str:
    """8 of 10 questions are for training, one each for validation and test."""
    share = fraction(key)
    return "train" if share < 0.8 else "validation" if share < 0.9 else "test"


@dataclass(frozen=True)
class Generated(Sequence[Problem]):
    """The problems of a split, made when they are asked for; drawn with replacement from all there are.

    `make` gives the problem of any number, and a key that is equal for equal questions; held-out ones are kept.
    `excluded` are the keys of questions that are in no split.
    """

    split: str
    make: Callable[[int], tuple[str, Problem]]
    excluded: frozenset[str] = frozenset()
    kept: dict[int, Problem] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return SIZES[self.split]

    def __getitem__(self, index: int) -> Problem:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index in self.kept:
            return self.kept[index]
        for attempt in range(ATTEMPTS):
            key, problem = self.make(index * ATTEMPTS + attempt)
            if split_of(key) == self.split and key not in self.excluded:
                if self.split != "train":
                    self.kept[index] = problem
                return problem
        raise ValueError(f"these settings leave no question for {self.split}: make the questions larger")
