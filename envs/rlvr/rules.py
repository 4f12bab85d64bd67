"""When an answer is right: pure functions of (facts, completion) that give (score in [0, 1], solved).

They run in a child process (envs/rlvr/worker.py) and take time linear in the completion; torch stays out of here.
"""

import functools
import re
from collections.abc import Callable

NUMBER = re.compile(r"(?P<sign>-?\$?|\$-)(?P<whole>[0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.(?P<fraction>[0-9]+))?\.?")
# Reasoning Gym's verifiers that neither evaluate an answer as code nor give a wrong one the full score
CHECKED = ("base_conversion", "caesar_cipher", "graph_color", "knights_knaves", "letter_counting")


def total(facts: dict, completion: str) -> tuple[float, bool]:
    """The answer, character by character; after working, what stands behind the last "="."""
    said = completion.rpartition("=")[2] if facts["working"] else completion
    right = said == facts["answer"]
    return float(right), right


def number(facts: dict, completion: str) -> tuple[float, bool]:
    """The number alone on the line of the last marker: "#### -1,234.50." is -1234.5, "#### 3 or 4" is none."""
    _, marker, rest = completion.rpartition(facts["marker"])
    right = bool(marker) and canonical(rest.partition("\n")[0]) == facts["answer"]
    return float(right), right


def canonical(text: str) -> str | None:
    """A decimal number in one spelling; commas, a dollar sign and a trailing dot may be there; None for all else."""
    match = NUMBER.fullmatch(text.strip(" \t\r"))
    if not match:
        return None
    whole, fraction = match["whole"].replace(",", "").lstrip("0") or "0", (match["fraction"] or "").rstrip("0")
    value = f"{whole}.{fraction}" if fraction else whole
    return f"-{value}" if "-" in match["sign"] and value != "0" else value


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
