"""What a machine with a GPU runs, tried on the CPU."""

import subprocess
import sys

import pytest

from benchmarks import gpu
from store.archive import Archive
from tests.helpers import ROOT

MARK = "\n@pytest.mark.gpu"  # of a test, at the start of a line
PLAN = """
- {sweep: fig07, scale: quick, set: "algo=tpo env.horizon=3 env.batch=8 model.d_model=8 model.layers=1 train.steps=20"}
"""


def test_speed_and_a_plan_are_measured_and_what_is_finished_comes_back(tmp_path):
    plan = tmp_path / "tiny.yaml"
    plan.write_text(PLAN)
    options = ("--device", "cpu", "--budget", "400", "--case", "DG", "--plan", str(plan), "--out", str(tmp_path))
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu", *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of peak" in (tmp_path / "speed.log").read_text()
    assert [run.seeds_done() for run in Archive(tmp_path / "results").runs()] == [[0, 1, 2]]


def test_a_plan_that_is_none_is_refused_before_any_work(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["gpu", "--plan", "gpi", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        gpu.main()
    assert stop.value.code == 2 and "plan=gpi: not found (did you mean gpu?)" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_test_for_a_gpu_is_in_a_file_that_is_run_there():
    marked = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").glob("test_*.py") if MARK in path.read_text()]
    assert sorted(marked) == sorted(gpu.GPU_TESTS)
