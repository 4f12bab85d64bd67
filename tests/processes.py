"""`python run.py` in processes of its own, which start at once because torch is already in their parent."""

import multiprocessing
import os
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from launch import command as command_line

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["launch.command", "tests.processes"])


def child(folder: Path, log: Path, args: tuple[str, ...]) -> None:
    """`python run.py ARGS` without the table and the curves at its end."""
    os.dup2(os.open(log, os.O_WRONLY), sys.stdout.fileno())
    torch.set_num_threads(1)
    sys.argv = ["run.py", *args, f"runs_dir={folder}"]
    command_line.conclude = lambda outcomes, console: int(any(o.status not in ("done", "skipped") for o in outcomes))
    sys.exit(command_line.main())


def start(folder: Path, name: str, args: tuple[str, ...]) -> tuple[BaseProcess, Path]:
    """A process that runs ARGS with its runs in `folder`, and the file of what it says."""
    folder.mkdir(exist_ok=True)
    log = folder.with_name(f"{folder.name}.{name}.log")
    log.touch()
    process = PROCESSES.Process(target=child, args=(folder, log, args))
    process.start()
    return process, log


def finish(process: BaseProcess, log: Path, code: int = 0) -> str:
    """What it said, once it ended with `code`."""
    process.join(120)
    assert process.exitcode == code, log.read_text()
    return log.read_text()


def wait_for_checkpoint(folder: Path, newer_than: float = 0.0) -> float:
    """Modification time of the first checkpoint that is newer."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in folder.rglob("checkpoint.pt"):
            if path.stat().st_mtime > newer_than:
                return path.stat().st_mtime
        time.sleep(0.005)
    raise AssertionError("no checkpoint within a minute")
