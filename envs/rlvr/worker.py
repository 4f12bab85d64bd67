"""The child process that grades answers: it loads one rule, gives up what it does not need, and serves a pipe.

In: pickled lists of (facts, completion), the first of them with one right answer.
Out: LOADED · once that answer was accepted, a line of JSON with the user's files that the rule consists of · then per
answer, as soon as it is known, one FRAME of (number of its status, solved, score, size of the message) and the message.
"""

import importlib
import json
import os
import pickle
import struct
import sys

from envs.rlvr import limits
from envs.rlvr.own import OwnRule, ScoreError, UnusableError, explain, is_own, one_line

FRAME = struct.Struct("<B?dH")  # with its message it is small enough for a pipe to pass it on in one piece
LOADED = b"l"
STATUSES = ("ok", "crash", "invalid")
Verdict = tuple[str, bool, float, str]  # status, solved, score, message


class SuiteRule:
    """A rule of the suite, "module:function", which gives (score, solved) and accepts a right answer."""

    def __init__(self, name: str):
        module, function = name.split(":")
        module = importlib.import_module(module)
        self.folder, self.function = os.path.dirname(module.__file__), getattr(module, function)

    def __call__(self, facts: dict, completion: str) -> tuple[float, bool]:
        return self.function(facts, completion)

    def files(self) -> list[str]:
        """None is the user's."""
        return []

    def objection(self, verdicts: list[Verdict], answer: str) -> str:
        """Why the rule cannot be used, by its verdicts on a right answer before and after the process was limited."""
        for _, solved, score, message in verdicts:
            if score != 1 or not solved:
                return message or f"a right answer scores {score}: {answer[:200]!r}"
        return ""


def serve(name: str) -> None:
    """Grade with the rule "module:function" or "FILE.py:function" until the pipe closes."""
    replies = _keep_replies()
    try:
        rule = OwnRule(name) if is_own(name) else SuiteRule(name)
    except UnusableError as error:
        sys.exit(str(error))
    os.write(replies, LOADED)
    (sample,) = pickle.load(sys.stdin.buffer)
    limits.allow_reading_alone()
    verdicts = [verdict(rule, *sample)]  # loads what the rule loads lazily, while files can still be read
    limits.allow_nothing()
    limits.allow_cpu()
    verdicts.append(verdict(rule, *sample))
    objection = rule.objection(verdicts, sample[1])
    if objection:
        sys.exit(objection)
    os.write(replies, json.dumps(rule.files()).encode() + b"\n")
    while True:
        try:
            work = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        for facts, completion in work:
            limits.allow_cpu()
            os.write(replies, _frame(*verdict(rule, facts, completion)))


def verdict(rule, facts: dict, completion: str) -> Verdict:
    """Grade one completion. An exception of the rule becomes the status "crash", or "invalid" for a bad score."""
    try:
        score, solved = rule(facts, completion)
        if not 0 <= score <= 1:
            raise ScoreError(f"the score {score} is not in [0, 1]")
        return "ok", bool(solved), float(score), ""
    except ScoreError as error:
        return "invalid", False, 0.0, one_line(str(error))
    except (Exception, SystemExit) as error:
        return "crash", False, 0.0, explain(error, rule.folder)


def _frame(status: str, solved: bool, score: float, message: str) -> bytes:
    said = message.encode()
    return FRAME.pack(STATUSES.index(status), solved, score, len(said)) + said


def _keep_replies() -> int:
    """A descriptor for replies; whatever a rule prints goes nowhere."""
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return replies
