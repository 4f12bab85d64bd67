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
from envs.rlvr.grades import Grade
from envs.rlvr.own import OwnRule, ScoreError, UnusableError, explain, is_own, one_line

FRAME = struct.Struct("<B?dH")  # with its message it is small enough for a pipe to pass it on in one piece
LOADED = b"l"
STATUSES = ("ok", "crash", "invalid")


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

    def objection(self, before: Grade, after: Grade, answer: str) -> str:
        """Why the rule cannot be used, by its grades of a right answer before and after the process was limited."""
        for grade in (before, after):
            if grade.score != 1 or not grade.solved:
                return grade.message or f"a right answer scores {grade.score}: {answer[:200]!r}"
        return ""


def serve(name: str) -> None:
    """Grade with the rule "module:function" or "FILE.py:function" until the pipe closes."""
    replies, work = _keep_replies(), os.fdopen(os.dup(0), "rb")  # `exit` of Python closes stdin
    try:
        rule = OwnRule(name) if is_own(name) else SuiteRule(name)
    except UnusableError as error:
        sys.exit(str(error))
    os.write(replies, LOADED)
    (sample,) = pickle.load(work)
    limits.allow_reading_alone()
    before = grade(rule, *sample)  # loads what the rule loads lazily, while files can still be read
    limits.allow_nothing()
    limits.allow_cpu()
    objection = rule.objection(before, grade(rule, *sample), sample[1])
    if objection:
        sys.exit(objection)
    os.write(replies, json.dumps(rule.files()).encode() + b"\n")
    while True:
        try:
            cases = pickle.load(work)
        except EOFError:
            return
        for facts, completion in cases:
            limits.allow_cpu()
            os.write(replies, _frame(grade(rule, facts, completion)))


def grade(rule, facts: dict, completion: str) -> Grade:
    """Grade one completion. An exception of the rule becomes the status "crash", or "invalid" for a bad score."""
    try:
        score, solved = rule(facts, completion)
        if not 0 <= score <= 1:
            raise ScoreError(f"the score {score} is not in [0, 1]")
        return Grade(float(score), bool(solved))
    except ScoreError as error:
        return Grade(0.0, False, "invalid", one_line(str(error)))
    except (Exception, SystemExit) as error:
        return Grade(0.0, False, "crash", explain(error, rule.folder))


def _frame(grade: Grade) -> bytes:
    message = grade.message.encode()
    return FRAME.pack(STATUSES.index(grade.status), grade.solved, grade.score, len(message)) + message


def _keep_replies() -> int:
    """A descriptor for replies; whatever a rule prints goes nowhere."""
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return replies
