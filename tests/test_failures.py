"""Code of one's own that fails: file and line in one line, the traceback beside the run, and sweeps that stop."""

import re

import pytest
from rich.console import Console

import suite
from algorithms import new
from store.failure import describe, locate
from store.runs import RunStore
from tests.helpers import experiment, files_limited_to
from training.experiment import execute

SETTINGS = ("env.arms=5", "seeds=1", "train.steps=2")


@pytest.fixture
def own(tmp_path):
    """A folder with a method whose loss fails, within a call to the suite."""
    folder = tmp_path / "own"
    assert new.SCAFFOLD.main(["mine", "--dir", str(folder)]) == 0
    path = folder / "mine.py"
    path.write_text(path.read_text().replace("standardize(batch.score,", "standardize(batch.scores,"))
    return folder


def line_of(own) -> int:
    return next(n for n, line in enumerate((own / "mine.py").read_text().splitlines(), 1) if "batch.scores" in line)


@pytest.mark.parametrize("launch", [(), ("launch.workers=2",)])
def test_a_sweep_whose_first_three_jobs_fail_in_one_place_stops(cli, tmp_path, own, launch):
    grid = ("-m", "algo=mine", "algo.power=1,2,3,4,5,6", f"algo_path={own}", *SETTINGS, *launch)
    code, out = cli(*grid)
    text = " ".join(out.split())
    assert code == 1 and "Traceback" not in out
    assert f"{own / 'mine.py'}, line {line_of(own)}" in text
    assert re.search(r"failed: Mine on sparse_bandit \(algo.power=[1-6]\): AttributeError", text)
    stopped = re.search(r"the first jobs failed in the same place, .*mine.py, line \d+: (\d+) were not started", text)
    assert stopped and int(stopped[1]) >= 2
    runs = list(RunStore(tmp_path / "runs").runs())
    assert len(runs) == 6 - int(stopped[1])
    assert all("batch.scores" in run.traceback.read_text() for run in runs)
    assert not list((tmp_path / "runs").glob(".sweeps/ended-*"))


def test_a_sweep_keeps_going_where_it_is_told_to_and_others_go_on_by_themselves(cli, tmp_path, own):
    grid = ("-m", "algo=mine", "algo.power=1,2,3,4", f"algo_path={own}", *SETTINGS)
    code, out = cli(*grid, "launch.keep_going=true")
    assert code == 1 and "not started" not in out and out.count("failed: Mine") >= 4


def test_jobs_that_fail_beside_others_that_do_not_stop_nothing(cli, own):
    code, out = cli("-m", "algo=tpo,mine", "algo.label=A,B,C", f"algo_path={own}", *SETTINGS)
    assert code == 1 and "not started" not in out


def test_jobs_that_are_refused_beside_others_are_named(cli, own):
    (own / "mine.yaml").write_text((own / "mine.yaml").read_text().replace("power: 1.0", "power: 0"))
    _, out = cli("-m", "algo=tpo,mine", "optim.lr=0.1,0.2", f"algo_path={own}", *SETTINGS)
    jobs = "Mine on sparse_bandit (optim.lr=0.1), Mine on sparse_bandit (optim.lr=0.2)"
    assert f"refused: 2 jobs ({jobs}): algo.power=0.0: must be > 0" in " ".join(out.split())


def test_values_that_are_quoted_name_jobs_as_they_are(cli):
    words = (
        "algo.label='it\\'s $1, a','b [c]'",
        "train.log_every=${train.steps},1",
        f"seeds=[0],[{','.join('1' * 1)}]",
    )
    _, out = cli("-m", *words, "env.arms=5", "train.steps=2", "algo.eta=-1")
    assert "'s $1, a on sparse_bandit (algo.label=it's $1, a, train.log_every=2, seeds=[0])" in out
    assert len(out.splitlines()) < 20


def test_jobs_from_python_are_named_too(own):
    with pytest.raises(suite.TrainingError, match=r"Mine on sparse_bandit \(algo.power=2\): AttributeError"):
        suite.train("-m", "algo=mine", "algo.power=2,3", f"algo_path={own}", *SETTINGS)


def test_a_failure_is_located_in_the_code_outside_the_suite(tmp_path):
    path = tmp_path / "theirs.py"
    path.write_text("import json\n\ndef f():\n    return json.loads('{')\n")
    space: dict = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    with pytest.raises(ValueError) as caught:
        space["f"]()
    assert locate(caught.value).endswith("theirs.py, line 4")
    assert describe(caught.value).endswith("theirs.py, line 4)")
    assert locate(ValueError("raised nowhere")) is None and describe(ValueError("x")) == "ValueError: x"


@pytest.mark.parametrize(
    "every, message",
    [(1000, "File too large"), (100, "the checkpoint could not be written; is the disk full?")],
    ids=["metrics", "checkpoint"],
)
def test_a_run_that_fails_on_a_full_disk_is_completed_by_the_same_command(cli, tmp_path, monkeypatch, every, message):
    monkeypatch.setattr("training.experiment.provenance", lambda run: {})  # it stores the changes of a working tree
    args = ("seeds=20", "train.steps=200", f"train.checkpoint_every={every}")
    with files_limited_to(6000):
        code, out = cli(*args)
    (run,) = RunStore(tmp_path / "runs").runs()
    assert code == 1 and message in out
    assert run.manifest()["status"] == "failed" and run.seeds_done() == []
    assert cli(*args)[0] == 0
    assert run.manifest()["status"] == "done" and len(run.seeds_done()) == 20


def test_a_failure_before_training_leaves_no_other_process_waiting(tmp_path, monkeypatch):
    told = []

    def fail(*args):
        raise MemoryError("too little")

    monkeypatch.setattr("training.experiment.require_memory", fail)
    monkeypatch.setattr("training.distributed.broadcast", told.append)
    assert execute(experiment(tmp_path, *SETTINGS), Console(quiet=True)).status == "failed"
    assert told == [()]  # no seeds to train
