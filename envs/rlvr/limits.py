"""The limits of a process that grades: no writing, no network, no programs, little memory, little time."""

import faulthandler
import os
import resource
import signal
import sys
import time

CPU_SECONDS = 1  # per answer, and up to one more, since the kernel counts in whole seconds
FIRST_CPU_SECONDS = 60  # for the first answer, with what it loads
MEMORY = 2**30  # bytes of address space, beyond what the process has when it is limited
FIRST_MEMORY = 4 * 2**30  # the same while the first answer is graded
COMPLAINTS = 2**20  # bytes that may go to stderr
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
HARMLESS = ("os.listdir", "os.scandir", "os.putenv", "os.unsetenv")  # what imports do
REFUSED = ("os.", "shutil.", "socket.", "subprocess.")  # beginnings of Python's audit events


def allow_reading_alone() -> None:
    """From here on files can be read, which imports need, but Python refuses to write, connect or start anything."""
    sys.addaudithook(_refuse)
    # at the limit on CPU time the process writes to stderr where it is, and ends
    faulthandler.register(signal.SIGXCPU, chain=True)
    allow_cpu(FIRST_CPU_SECONDS)
    _limit(resource.RLIMIT_AS, _memory() + FIRST_MEMORY)


def allow_nothing() -> None:
    """From here on the kernel refuses to open anything: no file, no socket, no other program."""
    sys.addaudithook(_refuse_c)
    for what, most in {
        resource.RLIMIT_AS: _memory() + MEMORY,
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_FSIZE: COMPLAINTS,
        resource.RLIMIT_CORE: 0,
    }.items():
        _limit(what, most, for_good=True)


def allow_cpu(seconds: int = CPU_SECONDS) -> None:
    """The kernel ends this process once it has used so much more CPU time, even if the parent is gone."""
    used = int(time.process_time()) + 1
    _limit(resource.RLIMIT_CPU, used + seconds)


def _limit(what: int, most: int, for_good: bool = False) -> None:
    """Set a limit of this process, at most the hard limit. Only root may raise that one; `for_good` lowers it too."""
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most if for_good else hard))


def _refuse(event: str, args: tuple) -> None:
    allowed = not args[2] & WRITING if event == "open" else event in HARMLESS or not event.startswith(REFUSED)
    if not allowed:
        raise _denied(event, args)


def _refuse_c(event: str, args: tuple) -> None:
    if event.startswith("ctypes.dl"):  # functions of C, which no hook sees
        raise _denied(event, args)


def _denied(event: str, args: tuple) -> PermissionError:
    return PermissionError(f"{event}({', '.join(map(repr, args[:1]))}) is not allowed in a process that grades")


def _memory() -> int:
    """Bytes of address space that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
