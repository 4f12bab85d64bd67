"""A child process that grades answers (envs/rlvr/worker.py), as the process that trains sees it."""

import contextlib
import json
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from envs.rlvr.grades import Case, Grade
from envs.rlvr.limits import CPU_SECONDS
from envs.rlvr.own import is_own, one_line
from envs.rlvr.worker import FRAME, LOADED, STATUSES

ROOT = Path(__file__).resolve().parents[2]
START = "import sys; sys.path.insert(0, sys.argv[1]); from envs.rlvr.worker import serve; serve(sys.argv[2])"
SECONDS = 5.0  # on the clock, per answer; the child's own limit on CPU time is lower
STARTUP = 120.0  # on the clock, until a child has imported its rule
FIRST_SECONDS = 30.0  # on the clock, for the first answer that a function of the user's grades in a child
SIGNALS = {number.value: number.name for number in signal.Signals}  # most of the real-time ones have no name


class NotStartedError(RuntimeError):
    """A verifier cannot be used; `reason` says why in one line."""

    def __init__(self, rule: str, reason: str):
        super().__init__(f"verifier {rule} does not start: {reason}")
        self.reason = reason


class Child:
    """One worker process; raises NotStartedError unless its rule accepts the answer of `sample`.

    files  those of the user's that the rule consists of
    """

    def __init__(self, rule: str, sample: Case):
        self.folder = os.path.dirname(rule) if is_own(rule) else None
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", START, ROOT, rule],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env={},
            cwd="/",
            bufsize=0,
            start_new_session=True,  # an interrupt from the keyboard is the trainer's to handle
        )
        self.replies = self.process.stdout.fileno()
        self.poll = select.poll()
        self.poll.register(self.replies, select.POLLIN)
        if self._read(len(LOADED), STARTUP) != LOADED:
            raise NotStartedError(rule, self._objection("importing it", STARTUP))
        self._write([(sample.facts, sample.answer)])
        patience = FIRST_SECONDS if self.folder else STARTUP
        files = self._read_line(patience)
        if files is None:
            raise NotStartedError(rule, self._objection("grading a first answer", patience))
        self.files = json.loads(files)

    def grade(self, cases: Sequence[Case]) -> list[Grade]:
        """Grades in order; after an answer that ends this process there are no more, and `alive` is false."""
        self._write([(case.facts, case.completion) for case in cases])
        grades = []
        for _ in cases:
            frame = self._read(FRAME.size, SECONDS)
            if frame is None:
                most = f"more than {CPU_SECONDS} s of computing, or {SECONDS:g} s on the clock"
                return [*grades, Grade(0.0, False, *self._death(most))]
            status, solved, score, size = FRAME.unpack(frame)
            if status >= len(STATUSES) or not 0 <= score <= 1:  # code in an answer may have written it
                self.close()
                return [*grades, Grade(0.0, False, "crash", "its process sent what is no grade")]
            message = self._read(size, SECONDS) or b"" if size else b""
            grades.append(Grade(score, solved, STATUSES[status], one_line(message.decode(errors="replace"))))
        return grades

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()

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

    def _read_line(self, seconds: float) -> bytes | None:
        line = b""
        while not line.endswith(b"\n"):
            more = self._read(1, seconds)
            if more is None:
                return None
            line += more
        return line

    def _objection(self, what: str, seconds: float) -> str:
        """Why the process did not get through `what`; ends it."""
        status, message = self._death(f"{what} takes more than {seconds:g} s")
        return message if status == "timeout" else self.said or f"{message}, at {what}"

    def _death(self, too_long: str) -> tuple[str, str]:
        """Status and message of why there was no reply; ends the process, which first says where it is."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.1)  # a closed pipe may be seen before the exit code is
        code = self.process.poll()
        if code is None:
            self.process.send_signal(signal.SIGXCPU)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
        self.errors.seek(0)
        text = self.errors.read().decode(errors="replace")
        self.said = one_line((text.strip().splitlines() or [""])[-1])
        self.close()
        if code in (None, -signal.SIGXCPU):
            return "timeout", self._place(text) + too_long
        ended = f"exit code {code}" if code >= 0 else SIGNALS.get(-code, f"signal {-code}")
        return "crash", f"its process ended ({ended}){self.said and f': {self.said}'}"

    def _place(self, text: str) -> str:
        """The innermost line of the user's code in the traceback that an ended process wrote."""
        frames = re.findall(r'^  File "(.+)", line (\d+)', text.rpartition("most recent call first")[2], re.MULTILINE)
        own = [(file, line) for file, line in frames if self.folder and file.startswith(self.folder + os.sep)]
        return one_line("".join(f"{os.path.basename(file)}, line {line}: " for file, line in own[:1]))
