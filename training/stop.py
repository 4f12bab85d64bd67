"""When a training ends before its last step: a time, a signal, or the death of the process that started it."""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A training ended after a whole step, which its checkpoint holds."""

    def __init__(self, number: int):
        super().__init__()
        self.signal = number  # of the signal that asked for it; 0: the time was spent


class Stop:
    """Says after every step whether the training has to end.

    deadline  seconds since the epoch after which it ends; infinite for never
    parent    id of the process that started this one; the training ends when that process has died
    """

    def __init__(self, deadline: float = math.inf, parent: int | None = None):
        self.deadline, self.parent, self.signal = deadline, parent, 0

    @property
    def due(self) -> bool:
        orphaned = self.parent is not None and os.getppid() != self.parent
        return bool(self.signal) or orphaned or time.time() >= self.deadline

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM end the training after the step that runs; a second one ends it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._notice) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _notice(self, number: int, frame) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        if number == signal.SIGINT:
            os.write(2, b"stopping after this step; a second Ctrl-C stops at once\n")  # print is not safe in a handler
