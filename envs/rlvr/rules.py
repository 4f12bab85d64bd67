"""When an answer is right: pure functions of (facts, completion) that give (score in [0, 1], solved).

They run in a child process (envs/rlvr/worker.py) and take time linear in the completion; torch stays out of here.
"""

import functools
from collections.abc import Callable

# Reasoning Gym's verifiers that neither evaluate an answer as code nor, with GUARDS, give a wrong one the full score
CHECKED = ("base_conversion", "calendar_arithmetic", "caesar_cipher", "chain_sum", "count_bits", "gcd", "graph_color")
CHECKED += ("knights_knaves", "letter_counting", "products", "word_sorting")
Verifier = Callable[[str, dict], float]
CALENDAR_CHARACTERS = 20  # more than any right answer of calendar_arithmetic has


def total(facts: dict, completion: str) -> tuple[float, bool]:
    """The answer, character by character; after working, what stands behind the last "="."""
    said = completion.rpartition("=")[2] if facts["working"] else completion
    right = said == facts["answer"]
    return float(right), right


def reasoning_gym(facts: dict, completion: str) -> tuple[float, bool]:
    """Reasoning Gym's own score of the task that `facts` names; without shaping, nothing below the full score."""
    task, entry = facts["task_name"], facts["entry"]
    score = verifiers()[task](completion, entry) if GUARDS.get(task, _accept)(completion, entry) else 0.0
    solved = score == 1
    return (score if facts["shaping"] else float(solved)), solved


def _accept(answer: str, entry: dict) -> bool:
    return True


def _no_more_words(answer: str, entry: dict) -> bool:
    """The library gives the right words the full score, whatever comes behind them."""
    return answer.count(",") < len(entry["metadata"]["sorted_words"])


def _finite_error(answer: str, entry: dict) -> bool:
    """The library scores a number by e^(-5 error / right one).

    That is above 1 where the right one is -1, and overflows for a number with many digits. The answers to its other
    questions are short words.
    """
    return len(answer) <= CALENDAR_CHARACTERS and (entry["answer"] != "-1" or answer.strip() == "-1")


GUARDS = {"calendar_arithmetic": _finite_error, "word_sorting": _no_more_words}


@functools.cache
def verifiers() -> dict[str, Verifier]:
    """Those of every task on the allow-list, so that a limited process need not load anything later."""
    import reasoning_gym

    return {name: reasoning_gym.create_dataset(name, size=1, seed=0).score_answer for name in CHECKED}
