"""A completion to grade (`Case`) and its result (`Grade`)."""

from dataclasses import dataclass
from typing import Any

CHARACTERS = 100_000  # longer completions are not even parsed


@dataclass(frozen=True)
class Case:
    """A completion to grade, with what its rule needs to know, and an answer that earns the full score."""

    facts: dict[str, Any]
    answer: str
    completion: str


@dataclass(frozen=True)
class Grade:
    """Of one completion: score in [0, 1], whether it solves the problem, and "ok", or why there is no verdict.

    "timeout"  the verifier took too long        "crash"    it raised, or its process died
    "length"   more than CHARACTERS characters   "invalid"  it gave what is no number in [0, 1]
    Each of them has score 0 and a message, one line that says where and why.
    """

    score: float
    solved: bool
    status: str = "ok"
    message: str = ""


def overlong(case: Case) -> Grade | None:
    """The grade of a completion that is too long to be parsed; None for any other."""
    if len(case.completion) <= CHARACTERS:
        return None
    return Grade(0.0, False, "length", f"a completion of more than {CHARACTERS:,} characters")
