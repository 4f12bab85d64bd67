"""python -m benchmarks.gpu --budget 540: what a GPU says within so many seconds: tests, speed, then the plan `gpu`.

Needs no network. Everything is left in the folder `--out`: the logs, and what is finished as an archive in OUT/results,
which another machine takes over with `python -m store import --from OUT/results`. What it has trained when it is
stopped lies in OUT/runs.
"""

import argparse
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from conf.entry import run_main
from conf.messages import ConfigError
from launch import plans
from launch.command_line import quoted
from store.archive import Archive
from store.results import Results
from store.runs import RunStore

ROOT = Path(__file__).resolve().parent.parent
TESTS, SPEED, EXPORT = 120, 120, 40  # the most seconds of each part
# the files with tests marked "gpu"; to collect the others is slow
GPU_TESTS = ("tests/test_env_contract.py", "tests/test_training.py")
WORKERS = 5  # processes that share the GPU, which one configuration does not fill


def run(log: Path, seconds: float, *command: str) -> int:
    """Run `python COMMAND` from the root for at most so long, and show the last lines of what it says."""
    print("python", *command, flush=True)
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-u", *command],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that Ctrl-C reaches it once, from here
        )
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
        finally:
            process.terminate()  # a plan then keeps a checkpoint and ends its processes
            process.wait()
    print(*log.read_text(errors="replace").splitlines()[-12:], sep="\n")
    print(f"exit code {process.returncode}: {log}", flush=True)
    return process.returncode


def seconds_left(end: float) -> float:
    return max(0.0, end - time.monotonic())


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=int, default=540, help="seconds for all of it (default: 540)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try it without a GPU")
    parser.add_argument("--plan", default="gpu", help="a plan of sweeps/plans, or a file (default: gpu)")
    parser.add_argument("--case", default="", help="only the speed of the cases whose name contains this")
    parser.add_argument("--out", type=Path, default=Path("gpu_out"), help="folder of the results (default: gpu_out)")
    args = parser.parse_args()
    if args.budget < 1:
        parser.error("--budget must be >= 1")
    out = args.out.resolve()
    runs = out / "runs"
    try:
        list(plans.tasks(plans.read(args.plan), Results(RunStore(runs), Archive(ROOT / "results"))))
    except ConfigError as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the command that runs, too
    end = time.monotonic() + args.budget - EXPORT
    out.mkdir(parents=True, exist_ok=True)
    codes = []
    if args.device == "cuda":
        tests = ("-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", *GPU_TESTS)
        codes.append(run(out / "tests.log", min(TESTS, seconds_left(end)), *tests))
    speed = ("-m", "benchmarks.sequences", "--episodes", "3", "--case", args.case)
    codes.append(run(out / "speed.log", min(SPEED, seconds_left(end)), *speed))
    if seconds_left(end) >= 1:
        where = (f"device={args.device}", f"launch.workers={WORKERS}", f"runs_dir={quoted(str(runs))}")
        words = ("run.py", f"plan={args.plan}", f"budget={seconds_left(end):.0f}s", *where)
        codes.append(run(out / "plan.log", seconds_left(end) + EXPORT, *words))
    folders = ("--runs-dir", str(runs), "--out", str(out / "results"))
    codes.append(run(out / "export.log", EXPORT, "-m", "store", "export", *folders))
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(run_main(main))
