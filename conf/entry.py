"""Entry point of every command. It imports little, so that Ctrl-C works during the slow imports."""

import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from conf.process import tune_process

LEFT_BY_READER = 128 + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1


class ReaderLeft(KeyboardInterrupt):
    """Whoever read what this process prints, such as `head`, has closed the pipe."""


def run(module: str) -> int:
    """Import a module, call its `main` and return the exit code."""
    os.environ.setdefault("MPLBACKEND", "Agg")  # a command draws into files, and opens no window
    tune_process()
    return run_main(lambda: _import_main(module)())


def run_main(main: Callable[[], int | None]) -> int:
    """Call a command's `main` and return the exit code.

    Ctrl-C ends with one line and 130; a reader such as `head` that closes the pipe ends without a word. A full disk, or
    a file that cannot be read or written, is one line and 1.
    """
    if sys.stdout is None:  # as the shell's >&- leaves it
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    try:
        code = main() or 0
        sys.stdout.flush()
        return code
    except (BrokenPipeError, ReaderLeft):
        _forget_output()
        return LEFT_BY_READER
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except OSError as error:
        reason = error.strerror or str(error)
        print(f"{error.filename}: {reason}" if error.filename else reason, file=sys.stderr)
        _forget_output()
        return 1


def _forget_output() -> None:
    """Drop what is still to be printed, which Python would try once more as it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _import_main(module: str):
    """The `main` of a module. While it is imported, Ctrl-C ends the process at once.

    An exception would not do: libraries that are half imported catch it, or print it where nobody can catch it.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # such as nohup's
        return importlib.import_module(module).main
    signal.signal(signal.SIGINT, _leave)
    try:
        return importlib.import_module(module).main
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def sigint_ignored() -> Iterator[None]:
    """Processes that are started within leave Ctrl-C to this one, even while they import."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(128 + number)
