"""How every command begins and ends: Ctrl-C while it imports, and a reader that closes the pipe."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conf.process import MOST_KEPT, SPINS
from store.runs import RunStore
from tests.helpers import ROOT
from tests.test_imports import imports

COMMANDS = ("run.py", "analysis/__main__.py", "store/__main__.py", "docs/__main__.py")
START = "import sys; from conf.entry import run; sys.exit(run('module'))"
SLOW = """
import time
print("imports", flush=True)
try:
    time.sleep(60)
except BaseException:
    print("a library that catches everything")
def main(): return 0
"""
UNREADABLE = "def main(): open('nowhere/file')"
INTERRUPTED = "def main(): raise KeyboardInterrupt"
TUNED = "import os\ndef main(): print(*(os.environ.get(x) for x in ('GOMP_SPINCOUNT', 'MALLOC_TRIM_THRESHOLD_')))"
TALKATIVE = "def main():\n    print('a line')\n    return 0"


def heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start(tmp_path):
    """A process that runs a module of this text as a command."""

    def begin(text: str, variables: dict[str, str] | None = None, **options) -> subprocess.Popen:
        (tmp_path / "module.py").write_text(text)
        path = {"PYTHONPATH": f"{ROOT}:{tmp_path}"} | (variables or {})
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        # a process in the background may have been told to ignore Ctrl-C, and its children too
        return subprocess.Popen([sys.executable, "-c", START], env=path, preexec_fn=heed_ctrl_c, **pipes)

    return begin


def test_ctrl_c_during_the_imports_is_one_line(start):
    process = start(SLOW)
    assert process.stdout.readline() == "imports\n"
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert (process.returncode, out, errors) == (130, "", "interrupted\n")


def test_ctrl_c_that_a_command_leaves_to_its_caller_is_one_line(start):
    process = start(INTERRUPTED)
    assert process.communicate(timeout=20) == ("", "interrupted\n") and process.returncode == 130


def test_a_reader_that_closes_the_pipe_ends_a_command_without_a_word(start):
    process = start(TALKATIVE)
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(20) == 128 + signal.SIGPIPE
    process.stderr.close()


def test_a_reader_that_leaves_a_training_makes_it_no_failure(tmp_path):
    args = [sys.executable, "run.py", "algo=tpo", "env=contextual_bandit", "train.steps=9000", f"runs_dir={tmp_path}"]
    process = subprocess.Popen(args, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(60) == 128 + signal.SIGPIPE
    (run,) = RunStore(tmp_path).runs()
    assert run.manifest()["status"] == "interrupted" and not run.traceback.exists()


def test_a_reader_that_leaves_a_table_ends_it_without_a_word():
    args = [sys.executable, "-m", "analysis", "list"]
    process = subprocess.Popen(args, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(60) == 128 + signal.SIGPIPE


def test_a_file_that_cannot_be_read_is_one_line(start):
    process = start(UNREADABLE)
    assert process.communicate(timeout=20) == ("", "nowhere/file: No such file or directory\n")
    assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_is_one_line(start):
    with open("/dev/full", "w") as full:
        process = start(TALKATIVE, stdout=full)
        assert process.communicate(timeout=20)[1] == "No space left on device\n" and process.returncode == 1


def test_what_a_command_prints_and_returns_is_passed_on(start):
    process = start(TALKATIVE)
    assert process.communicate(timeout=20) == ("a line\n", "") and process.returncode == 0


@pytest.mark.parametrize(
    ("own", "found"),
    [
        ({}, f"{SPINS} {MOST_KEPT}"),
        ({"GOMP_SPINCOUNT": "7"}, f"7 {MOST_KEPT}"),
        ({"OMP_WAIT_POLICY": "active"}, f"None {MOST_KEPT}"),
        ({"MALLOC_ARENA_MAX": "1"}, f"{SPINS} None"),
    ],
)
def test_threads_sleep_soon_and_memory_is_kept_unless_the_user_says_otherwise(start, own, found):
    process = start(TUNED, own)
    assert process.communicate(timeout=20) == (found + "\n", "")


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_imports_nothing_that_takes_time_before_it_listens(path):
    assert set(imports(ROOT / path)) == {"sys", "conf.entry", "conf.entry.run"}
