"""When an answer is right: pure functions of (facts, completion) that give (score in [0, 1], solved).

They run in a child process (envs/rlvr/worker.py) and take time linear in the completion; torch stays out of here.
"""

import functools
from collections.abc import Callable

# Reasoning Gym's verifiers that neither evaluate an answer as code nor give a wrong one the full score
CHECKED = ("base_conversion", "caesar_cipher", "graph_color", "knights_knaves", "letter_counting")


def total(facts: dict, completion: str) -> tuple[float, bool]:
    """The answer, character by character; after working, what stands behind the last "="."""
    said = completion.rpartition("=")[2] if facts["working"] else completion
    right = said == facts["answer"]
    return float(right), right


def reasoning_gym(facts: dict, completion: str) -> tuple[float, bool]:
    """Reasoning Gym's own score of the task that `facts` names; without shaping, nothing below the full score."""
    score = verifiers()[facts["task_name"]](completion, facts["entry"])
    solved = score == 1
    return (score if facts["shaping"] else float(solved)), solved


@functools.cache
def verifiers() -> dict[str, Callable[[str, dict], float]]:
    """Those of every task on the allow-list, so that a limited process need not load anything later."""
    import reasoning_gym

    return {name: reasoning_gym.create_dataset(name, size=1, seed=0).score_answer for name in CHECKED}
