"""Sweeps in several processes: workers, launches that share the work, and launches that are killed."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from launch.kinds import Joblib, cores
from launch.sweep import ctrl_c_is_kept
from launch.watch import Job, Watch
from store.runs import Run, RunStore
from tests.helpers import ROOT
from tests.processes import finish, start, wait_for_checkpoint

GRID = ("-m", "algo=tpo,grpo,dg,pg", "env=contextual_bandit", "env.num_contexts=20", "seeds=2")
GRID += ("train.steps=300", "train.checkpoint_every=30", "train.log_every=10")


def command(*args: str) -> list[str]:
    return [sys.executable, str(ROOT / "run.py"), *GRID, *args]


def test_a_second_sweep_of_a_process_trains_in_its_own_folder(cli, tmp_path, monkeypatch):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert cli("-m", "algo=tpo,dg", "debug=smoke", "launch.workers=2")[0] == 0
        assert len(list(RunStore(tmp_path / name / "runs").runs())) == 2


def test_ctrl_c_that_a_launcher_loses_still_ends_the_sweep():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), ctrl_c_is_kept():
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            raise RuntimeError("a worker died")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for(log: Path, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)


def runs(folder: Path) -> dict[str, Run]:
    return {run.path.name: run for run in RunStore(folder).runs()}


def assert_equal(folder: Path, quiet: Path, expected: int = 4) -> None:
    ours, theirs = runs(folder), runs(quiet)
    assert len(ours) == expected
    for name, run in ours.items():
        assert run.frame().equals(theirs[name].frame())
        assert run.manifest()["status"] == "done" and run.manifest()["seeds_done"] == [0, 1]
        assert not any(path.exists() for path in run.checkpoints)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """The folder of one undisturbed launch, the seconds it trained, and what it said."""
    folder = tmp_path_factory.mktemp("sweeps") / "quiet"
    process, log = start(folder, "only", GRID)
    wait_for(log, "to train")
    began = time.monotonic()
    wait_for(log, "sweep 4/4")
    return folder, time.monotonic() - began, finish(process, log)


def test_a_sweep_says_how_far_it_is(quiet):
    lines = [line for line in quiet[2].splitlines() if line.startswith("sweep ")]
    assert [line.split(":")[0] for line in lines] == ["sweep 1/4", "sweep 2/4", "sweep 3/4", "sweep 4/4"]
    assert lines[0].startswith("sweep 1/4: 1 done, 0 skipped, 0 failed, 0 running, about ")
    assert lines[0].endswith("left (TPO on contextual_bandit: done)")


def test_the_time_left_is_near_the_forecast_while_little_has_ended(monkeypatch):
    short, long = Job([], None, predicted=0.01), Job([], None, predicted=1000.0)
    watch = Watch([short, long], Console(quiet=True), 1)
    watch.start = time.monotonic() - 4  # of which nearly all was not training
    short.ended = "done"
    assert watch._seconds_left() == pytest.approx(1000, rel=0.01)
    short.predicted = long.predicted = None
    assert watch._seconds_left() == pytest.approx(4, rel=0.1)


def test_a_damaged_config_of_a_finished_run_is_written_again(cli, tmp_path):
    grid = ("-m", "algo=tpo,dg", "env.arms=5", "seeds=1", "train.steps=3")
    assert cli(*grid)[0] == 0
    (damaged, _) = tmp_path.glob("runs/*/*/*/config.yaml")
    damaged.write_text("")
    code, out = cli(*grid)
    assert code == 0 and "2 jobs, 0 to train" in out and len(list(RunStore(tmp_path / "runs").runs())) == 2


def test_two_launches_split_the_work(tmp_path, quiet):
    both = [start(tmp_path / "runs", name, GRID) for name in ("one", "two")]
    said = [finish(*launch) for launch in both]
    trained = [text.count("step 300/300") for text in said]
    assert min(trained) >= 1 and sum(trained) == 4
    assert all(len(run.manifest()["batches"]) == 1 for run in runs(tmp_path / "runs").values())
    assert_equal(tmp_path / "runs", quiet[0])


def test_a_run_whose_process_dies_is_taken_over(tmp_path, quiet):
    victim, _ = start(tmp_path / "runs", "victim", GRID)
    wait_for_checkpoint(tmp_path / "runs")
    os.kill(victim.pid, signal.SIGSTOP)  # alive, so its claim holds
    heir, log = start(tmp_path / "runs", "heir", GRID)
    wait_for(log, "waiting for another process to finish")
    assert "sweep 3/4: 3 done" in log.read_text()
    victim.kill()
    victim.join()
    said = finish(heir, log)
    assert "resumed at step" in said and "sweep 4/4: 4 done" in said
    assert_equal(tmp_path / "runs", quiet[0])


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_one_of_two_launches_is_killed_at_a_random_moment(tmp_path, quiet, kills):
    folder, seconds, _ = quiet
    for kill in range(kills):
        ours = tmp_path / str(kill)
        (victim, said), other = start(ours, "victim", GRID), start(ours, "other", GRID)
        wait_for(said, "to train")
        time.sleep(random.Random(kill).uniform(0, seconds))
        victim.kill()
        victim.join()
        finish(*other)
        assert_equal(ours, folder)


def kill_worker(sweep: subprocess.Popen) -> None:
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(sweep.pid)], capture_output=True, text=True)
    workers = [int(line.split()[0]) for line in listed.stdout.splitlines() if "popen_loky" in line]
    os.kill(workers[0], signal.SIGKILL)


@pytest.mark.slow
def test_jobs_whose_worker_dies_are_tried_once_more_and_alone(tmp_path):
    args = ("algo=tpo,pg", "train.steps=600", "launch=joblib", "launch.workers=2", f"runs_dir={tmp_path / 'runs'}")
    log = tmp_path / "log"
    with log.open("w") as out, subprocess.Popen(command(*args), stdout=out) as sweep:
        wait_for_checkpoint(tmp_path / "runs")
        kill_worker(sweep)
        wait_for(log, "resumed at step")
        kill_worker(sweep)
    said, both = log.read_text(), runs(tmp_path / "runs").values()
    assert sweep.returncode == 1 and "its process died twice" in said
    assert sorted(run.seeds_done() for run in both) == [[], [0, 1]]


@pytest.mark.parametrize("launch", ["joblib", pytest.param("slurm_local", marks=pytest.mark.slow)])
def test_workers_train_the_same_numbers_with_their_share_of_the_cores(tmp_path, quiet, launch):
    args = ("algo=tpo,pg", f"launch={launch}", "launch.workers=2", f"runs_dir={tmp_path / 'runs'}")
    done = subprocess.run(command(*args), cwd=tmp_path, capture_output=True, text=True)
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    assert said.startswith("2 jobs, 2 to train: about ")
    assert "sweep 2/2: 2 done, 0 skipped, 0 failed, 0 running" in said and "curves.png" in said
    assert_equal(tmp_path / "runs", quiet[0], expected=2)
    for run in runs(tmp_path / "runs").values():
        assert run.manifest()["batches"][0]["device"] == f"cpu ({max(1, cores() // 2)} threads)"


@pytest.mark.parametrize("workers", [1, 2, 3, 32])
def test_workers_never_have_more_threads_than_there_are_cores(workers):
    assert Joblib(workers).threads == max(1, cores() // workers)
    assert Joblib().at_once == cores() and Joblib().threads == 1
