"""The child process that grades answers: it imports one rule, gives up what it does not need, and serves a pipe.

In: pickled lists of (facts, completion), the first of them with one right answer.
Out: READY once that was accepted, then per answer one FRAME of (failed, solved, score), as soon as it is known.
"""

import importlib
import importlib.util
import os
import pickle
import resource
import struct
import sys
import time

FRAME = struct.Struct("<??d")
READY = b"r"
CPU_SECONDS = 1  # per answer, and up to one more, since the kernel counts in whole seconds
COMPLAINTS = 2**20  # bytes that may go to stderr
MEMORY = 2**30  # bytes of address space, beyond what the rule itself takes


def serve(name: str) -> None:
    """Grade with the rule of this name until the pipe closes, once it has accepted a right answer."""
    replies = _keep_replies()
    rule = _rule(name)
    (sample,) = pickle.load(sys.stdin.buffer)
    _accept(rule, sample)  # loads what the rule loads lazily, while files can still be opened
    _limit()
    _accept(rule, sample)
    os.write(replies, READY)
    while True:
        try:
            work = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        for facts, completion in work:
            _allow_cpu()
            os.write(replies, FRAME.pack(*_graded(rule, facts, completion)))


def _rule(name: str):
    """The suite's "module:function" of (facts, completion), or the user's "FILE.py:function" of (completion, facts)."""
    file, _, function = name.rpartition(":")
    if not file.endswith(".py"):
        return getattr(importlib.import_module(file), function)
    spec = importlib.util.spec_from_file_location("own_rule", file)
    module = sys.modules["own_rule"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def rule(facts: dict, completion: str) -> tuple[float, bool]:
        score = getattr(module, function)(completion, facts)
        return score, score == 1

    return rule


def _accept(rule, sample: tuple[dict, str]) -> None:
    score, solved = rule(*sample)
    if score != 1 or not solved:
        raise RuntimeError(f"a right answer scores {score}: {sample[1][:200]!r}")


def _graded(rule, facts: dict, completion: str) -> tuple[bool, bool, float]:
    try:
        score, solved = rule(facts, completion)
    except Exception:  # whatever an answer provokes is its own fault; the parent counts it
        return True, False, 0.0
    return False, bool(solved), min(1.0, max(0.0, float(score)))


def _keep_replies() -> int:
    """A descriptor for replies; whatever a rule prints goes nowhere."""
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return replies


def _limit() -> None:
    with open("/proc/self/statm") as file:
        present = int(file.read().split()[0]) * resource.getpagesize()
    for what, most in {
        resource.RLIMIT_AS: present + MEMORY,
        resource.RLIMIT_NOFILE: 0,  # nothing can be opened from here on: no file, no socket, no other program
        resource.RLIMIT_FSIZE: COMPLAINTS,
        resource.RLIMIT_CORE: 0,
    }.items():
        resource.setrlimit(what, (most, most))


def _allow_cpu() -> None:
    """The kernel ends this process once the next answer has used its share, even if the parent is gone."""
    used = int(time.process_time()) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (used + CPU_SECONDS, resource.RLIM_INFINITY))
