"""Grades answers in child processes: model output is input from an adversary, and must not reach the trainer.

A child has no environment, cannot open anything, and is ended when an answer takes too long; another one replaces it.
"""

import atexit
import functools
import hashlib
import os
import queue
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from envs.rlvr.child import Child
from envs.rlvr.grades import Case, Grade, overlong

CHUNK = 32  # answers that go to a child at once


def require_verdicts(grades: Sequence[Grade]) -> None:
    """Raise RuntimeError, with the message of the first, where none of several answers could be graded."""
    if grades and all(grade.status != "ok" for grade in grades):
        raise RuntimeError(f"none of {len(grades)} answers could be graded, first: {grades[0].message}")


class Record:
    """What a grader has met so far.

    first_failure  the message of the first answer without a verdict
    worked         whether any answer had a verdict
    """

    def __init__(self):
        self.first_failure, self.worked = "", False

    def add(self, grades: list[Grade]) -> list[Grade]:
        """The grades themselves; raises what `require_verdicts` raises as long as no answer has had a verdict."""
        messages = [grade.message for grade in grades if grade.status != "ok"]
        self.first_failure = self.first_failure or "".join(messages[:1])
        if not self.worked:
            require_verdicts(grades)
        self.worked |= len(messages) < len(grades)
        return grades


@dataclass(frozen=True)
class Pending:
    """Grades that are still being worked out."""

    parts: tuple[Future, ...]
    record: Record

    def result(self) -> list[Grade]:
        """One grade per answer, in order; raises what `Record.add` raises."""
        return self.record.add([grade for part in self.parts for grade in part.result()])


class Pool:
    """Children that grade by one rule, started when they are first needed.

    sample  what a child is started with; None: the first case that it grades
    """

    def __init__(self, rule: str, size: int, sample: Case | None = None):
        self.rule, self.sample, self.record = rule, sample, Record()
        self.version: str | None = None
        self.children: queue.LifoQueue[Child | None] = queue.LifoQueue()  # the warm ones first
        for _ in range(size):
            self.children.put(None)
        self.threads = ThreadPoolExecutor(size, thread_name_prefix="verify")

    def start(self) -> list[str]:
        """Start the first child; the user's files that the rule consists of."""
        child = self.children.get()
        try:
            child = child or self._start(self.sample)
            return child.files
        finally:
            self.children.put(child)

    def submit(self, cases: Sequence[Case]) -> Pending:
        """Start to grade; a rule that does not run, or refuses a right answer, raises RuntimeError in the result."""
        chunks = [cases[i : i + CHUNK] for i in range(0, len(cases), CHUNK)]
        return Pending(tuple(self.threads.submit(self._grade, chunk) for chunk in chunks), self.record)

    def close(self) -> None:
        self.threads.shutdown()
        while not self.children.empty():
            child = self.children.get()
            if child:
                child.close()

    def _grade(self, cases: Sequence[Case]) -> list[Grade]:
        short = [case for case in cases if not overlong(case)]
        grades, child = [], self.children.get()
        try:
            while len(grades) < len(short):
                if not child or not child.alive:
                    child = None  # stays so if the next one does not start
                    child = self._start(self.sample or short[0])
                grades += child.grade(short[len(grades) :])
        finally:
            self.children.put(child)
        verdicts = iter(grades)
        return [overlong(case) or next(verdicts) for case in cases]

    def _start(self, sample: Case) -> Child:
        """A child that grades as all others of this pool do; raises RuntimeError where its files have changed."""
        child = Child(self.rule, sample)
        version = fingerprint(child.files)
        self.version = self.version or version
        if version != self.version:
            child.close()
            raise RuntimeError(f"the files of {os.path.basename(self.rule)} have changed; start again to grade by them")
        return child


def fingerprint(files: Sequence[str]) -> str:
    """A hash of what files contain, whatever they are called."""
    contents = sorted(hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files)
    return hashlib.sha256("".join(contents).encode()).hexdigest()


def new_pool(rule: str, sample: Case | None = None) -> Pool:
    """A pool that lasts as long as this process."""
    pool = Pool(rule, min(4, os.cpu_count() or 1), sample)
    atexit.register(pool.close)
    return pool


@functools.cache
def pool(rule: str) -> Pool:
    """The pool of this process for a rule of the suite."""
    return new_pool(rule)
