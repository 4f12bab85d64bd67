"""Grading by a function of the user's in the process that trains, where that is asked for."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.rlvr.grades import Case, Grade, overlong
from envs.rlvr.own import OwnRule, UnusableError, forget_modules
from envs.rlvr.verify import Record
from envs.rlvr.worker import grade


class InProcess:
    """Grades in this process, as Pool does in others, without any limit but that on a completion's length."""

    def __init__(self, rule: str, sample: Case):
        self.record, self.sample = Record(), sample
        with _imports_restored(str(Path(rule).parent)):
            self.rule = OwnRule(rule)
            self.files = self.rule.files()

    def start(self) -> list[str]:
        """The user's files that the rule consists of; raises UnusableError unless it grades the answer of `sample`."""
        first = grade(self.rule, self.sample.facts, self.sample.answer)
        if objection := self.rule.objection(first, first, self.sample.answer):
            raise UnusableError(objection)
        return self.files

    def submit(self, cases: Sequence[Case]) -> "DeferredGrades":
        """Grades that are computed when `result` is called."""
        return DeferredGrades(self, cases)


@dataclass(frozen=True)
class DeferredGrades:
    """Completions that are graded when `result` is called."""

    grader: InProcess
    cases: Sequence[Case]

    def result(self) -> list[Grade]:
        """One grade per answer, in order; raises what `Record.add` raises."""
        rule = self.grader.rule
        grades = [overlong(case) or grade(rule, case.facts, case.completion) for case in self.cases]
        return self.grader.record.add(grades)


@contextlib.contextmanager
def _imports_restored(folder: str) -> Iterator[None]:
    """Let a file import its neighbours, and forget these afterwards: they may have changed when it is read again."""
    known, path, writes = set(sys.modules), sys.path[:], sys.dont_write_bytecode
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = path, writes
        forget_modules(folder, known)
