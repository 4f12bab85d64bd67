"""Grades answers in child processes: model output is input from an adversary, and must not reach the trainer.

A child has no environment, cannot open anything, and is ended when an answer takes too long; another one replaces it.
"""

import atexit
import contextlib
import functools
import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.rlvr.worker import FRAME, READY

ROOT = Path(__file__).resolve().parents[2]
START = "import sys; sys.path.insert(0, sys.argv[1]); from envs.rlvr.worker import serve; serve(sys.argv[2])"
SECONDS = 5.0  # on the clock, per answer; the child's own limit on CPU time is lower
STARTUP = 120.0  # on the clock, until a child has imported its rule
CHARACTERS = 100_000  # longer completions are not even parsed
CHUNK = 32  # answers that go to a child at once


@dataclass(frozen=True)
class Case:
    """A completion to grade, with what its rule needs to know, and an answer that earns the full score."""

    facts: dict[str, Any]
    answer: str
    completion: str


@dataclass(frozen=True)
class Grade:
    """Of one completion: score in [0, 1], whether it solves the problem, and "ok", or why there is no verdict.

    "timeout"  the verifier took too long        "crash"  it raised, or its process died
    "length"   more than CHARACTERS characters   (each with score 0)
    """

    score: float
    solved: bool
    status: str = "ok"


class Child:
    """One worker process; raises RuntimeError with what it wrote unless its rule accepts the answer of `sample`."""

    def __init__(self, rule: str, sample: Case):
        with tempfile.TemporaryFile() as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", START, ROOT, rule],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={},
                cwd="/",
                bufsize=0,
                start_new_session=True,  # an interrupt from the keyboard is the trainer's to handle
            )
            self.replies = self.process.stdout.fileno()
            self.poll = select.poll()
            self.poll.register(self.replies, select.POLLIN)
            self._write([(sample.facts, sample.answer)])
            if self._read(len(READY), STARTUP) != READY:
                self.close()
                errors.seek(0)
                reason = errors.read().decode(errors="replace").strip().splitlines()
                raise RuntimeError(f"verifier {rule} does not start: {reason[-1] if reason else 'no reason given'}")

    def grade(self, cases: Sequence[Case]) -> list[Grade]:
        """Grades in order; after an answer that ends this process there are no more, and `alive` is false."""
        self._write([(case.facts, case.completion) for case in cases])
        grades = []
        for _ in cases:
            frame = self._read(FRAME.size, SECONDS)
            if frame is None:
                return [*grades, Grade(0.0, False, self._death())]
            failed, solved, score = FRAME.unpack(frame)
            grades.append(Grade(score, solved, "crash" if failed else "ok"))
        return grades

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def _write(self, work: list[tuple[dict, str]]) -> None:
        data = memoryview(pickle.dumps(work))
        with contextlib.suppress(BrokenPipeError):  # whoever waits for the reply finds out why
            while data:
                data = data[self.process.stdin.write(data) :]

    def _read(self, size: int, seconds: float) -> bytes | None:
        """`size` bytes, or None when the time is up or the process has ended."""
        if not self.poll.poll(1000 * seconds):
            return None
        data = os.read(self.replies, size)
        return data if len(data) == size else None

    def _death(self) -> str:
        """Why there was no frame; ends the process."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.1)  # a closed pipe may be seen before the exit code is
        code = self.process.poll()
        self.close()
        return "timeout" if code in (None, -signal.SIGXCPU) else "crash"


@dataclass(frozen=True)
class Pending:
    """Grades that are still being worked out."""

    parts: tuple[Future, ...]

    def result(self) -> list[Grade]:
        return [grade for part in self.parts for grade in part.result()]


class Pool:
    """Children that grade by one rule, started when they are first needed."""

    def __init__(self, rule: str, size: int):
        self.rule = rule
        self.children: queue.LifoQueue[Child | None] = queue.LifoQueue()  # the warm ones first
        for _ in range(size):
            self.children.put(None)
        self.threads = ThreadPoolExecutor(size, thread_name_prefix="verify")

    def submit(self, cases: Sequence[Case]) -> Pending:
        """Start to grade; a rule that does not run, or refuses a right answer, raises RuntimeError in the result."""
        chunks = [cases[i : i + CHUNK] for i in range(0, len(cases), CHUNK)]
        return Pending(tuple(self.threads.submit(self._grade, chunk) for chunk in chunks))

    def close(self) -> None:
        self.threads.shutdown()
        while not self.children.empty():
            child = self.children.get()
            if child:
                child.close()

    def _grade(self, cases: Sequence[Case]) -> list[Grade]:
        short = [case for case in cases if len(case.completion) <= CHARACTERS]
        grades, child = [], self.children.get()
        try:
            while len(grades) < len(short):
                if not child or not child.alive:
                    child = None  # stays so if the next one does not start
                    child = Child(self.rule, short[0])
                grades += child.grade(short[len(grades) :])
        finally:
            self.children.put(child)
        verdicts = iter(grades)
        return [next(verdicts) if len(c.completion) <= CHARACTERS else Grade(0.0, False, "length") for c in cases]


@functools.cache
def pool(rule: str) -> Pool:
    """The pool of this process for a rule."""
    pool = Pool(rule, min(4, os.cpu_count() or 1))
    atexit.register(pool.close)
    return pool
