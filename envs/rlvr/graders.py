"""When a completion gives the right number: pure functions of (facts, completion) that give (score in [0, 1], solved).

Four readings of the same text, of which env.grader names one. They run in a child process (envs/rlvr/worker.py) and
take time linear in the completion; torch stays out of here.
"""

import re
from collections.abc import Callable

NUMBER = re.compile(r"(?P<sign>-?\$?|\$-)(?P<whole>[0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.(?P<fraction>[0-9]+))?\.?")
PUBLISHED_NUMBER = r" (-?[0-9.,]+)"  # what follows the marker
PUBLISHED_CHARACTERS = 300  # of the end of a completion, which alone are read
ANY_NUMBER = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
BOX = "\\boxed{"
UNITS = ("\\text", "\\mathrm")  # what follows these in a box is a unit
DECORATION = ("\\!", "\\,", "\\;", "\\ ", "\\$", "$", "\\%", "%", "{,}")  # what a box may hold beside a number


def strict(facts: dict, completion: str) -> tuple[float, bool]:
    """The number alone on the line of the last marker: "#### -1,234.50." is -1234.5, "#### 3 or 4" is none."""
    _, marker, rest = completion.rpartition(facts["marker"])
    return _verdict(bool(marker) and canonical(rest.partition("\n")[0]) == facts["answer"])


def published(facts: dict, completion: str) -> tuple[float, bool]:
    """The digits right behind the last marker and one space, commas dropped, as text; the rest of the line is not read.

    Only the last 300 characters of a completion count. verl/utils/reward_score/gsm8k.py (verl 0.9.1), method "strict".
    """
    found = re.findall(re.escape(facts["marker"]) + PUBLISHED_NUMBER, completion[-PUBLISHED_CHARACTERS:])
    return _verdict(bool(found) and found[-1].replace(",", "") == facts["answer"])


def boxed(facts: dict, completion: str) -> tuple[float, bool]:
    """The number in the last \\boxed{...}, without units and thousands separators, wherever it stands.

    https://arxiv.org/abs/2103.03874 (MATH), whose answers are the last box of a solution.
    """
    _, box, rest = completion.rpartition(BOX)
    content = _up_to_its_brace(rest) if box else ""
    for mark in UNITS:
        content = content.partition(mark)[0]
    for mark in DECORATION:
        content = content.replace(mark, "")
    return _verdict(canonical(content) == facts["answer"])


def numbers(facts: dict, completion: str) -> tuple[float, bool]:
    """The last number anywhere in the text, without commas, dollar signs and a trailing dot.

    lm_eval/tasks/gsm8k/gsm8k.yaml (lm-evaluation-harness 0.4.13), filter "flexible-extract".
    """
    found = ANY_NUMBER.findall(completion)
    said = found[-1].replace(",", "").replace("$", "").removesuffix(".") if found else None
    return _verdict(said == facts["answer"])


GRADERS: dict[str, Callable[[dict, str], tuple[float, bool]]] = {
    function.__name__: function for function in (strict, published, boxed, numbers)
}


def canonical(text: str) -> str | None:
    """A decimal number in one spelling; commas, a dollar sign and a trailing dot may be there; None for all else."""
    match = NUMBER.fullmatch(text.strip(" \t\r"))
    if not match:
        return None
    whole, fraction = match["whole"].replace(",", "").lstrip("0") or "0", (match["fraction"] or "").rstrip("0")
    value = f"{whole}.{fraction}" if fraction else whole
    return f"-{value}" if "-" in match["sign"] and value != "0" else value


def _up_to_its_brace(text: str) -> str:
    """The text before the brace that closes the one in front of it; nothing where that is missing."""
    depth = 1
    for i, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if not depth:
            return text[:i]
    return ""


def _verdict(right: bool) -> tuple[float, bool]:
    return float(right), right
