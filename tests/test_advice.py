"""A busy machine is named before a language model is trained, with the number of threads that suits it."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from models import pretrained
from tests.helpers import experiment
from tests.test_rlvr import TINY
from training import advice
from training import experiment as training_experiment
from training.experiment import execute

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("cores", "used", "threads", "said"),
    [
        (2, 0.2, 2, ""),
        (2, 0.9, 2, "OMP_NUM_THREADS=1 "),
        (2, 3.0, 2, "other processes use 3.0 of 2 cores): OMP_NUM_THREADS=1 "),
        (2, 2.0, 1, ""),
        (16, 4.2, 16, "OMP_NUM_THREADS=12 "),
        (16, 4.2, 8, ""),
        (2, None, 2, ""),
    ],
)
def test_threads_are_those_that_others_leave_free(monkeypatch, cores, used, threads, said):
    monkeypatch.setattr(advice.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(advice, "cores_used_by_others", lambda: used)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    found = advice.advise_on_threads(CPU)
    assert said in found and bool(found) == bool(said)
    assert not advice.advise_on_threads(torch.device("cuda"))


def test_what_other_processes_use_is_counted_and_what_this_one_uses_is_not(monkeypatch):
    # lines as the kernel writes them: of 200 ticks of 2 cores 150 were spent, and this process computed half the time
    stats = iter(["cpu 0 0 0 0 0 0 0 0 0 0\n", "cpu 90 30 20 40 10 5 5 0 0 0\n"])
    process, clock = iter([7.0, 7.25]), iter([100.0, 100.5])
    monkeypatch.setattr(advice.os, "cpu_count", lambda: 2)
    file = SimpleNamespace(exists=lambda: True, read_text=lambda: next(stats))
    monkeypatch.setattr(advice, "PROCESSOR_TIMES", file)
    times = SimpleNamespace(process_time=lambda: next(process), monotonic=lambda: next(clock), sleep=lambda _: None)
    monkeypatch.setattr(advice, "time", times)
    assert advice.cores_used_by_others() == pytest.approx(2 * 0.75 - 0.5)


def test_a_process_that_computes_is_seen():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            time.sleep(0.3)
            assert advice.cores_used_by_others() > 0.3
        finally:
            other.kill()


def test_no_file_of_the_kernel_no_advice(monkeypatch, tmp_path):
    monkeypatch.setattr(advice, "PROCESSOR_TIMES", tmp_path / "stat")
    assert advice.cores_used_by_others() is None and advice.advise_on_threads(CPU) == ""


def test_a_run_says_it_in_one_line(monkeypatch, tmp_path, capsys):
    from rich.console import Console

    monkeypatch.setattr(training_experiment, "advise_on_threads", lambda device: "the machine is busy")
    assert execute(experiment(tmp_path, *TINY, "train.steps=1"), Console(width=100)).status == "done"
    assert capsys.readouterr().out.splitlines()[0] == "the machine is busy"


def test_a_model_folder_that_changed_since_is_named(tmp_path):
    (tmp_path / "model.safetensors").write_text("weights")
    model, seeds = SimpleNamespace(path=str(tmp_path)), [{"seeds": [0], "finished": "2020-01-01T00:00:00+0000"}]
    assert "has changed since seeds were trained from it" in advice.advise_on_changed_model(model, seeds)
    again = [*seeds, {"seeds": [0], "finished": "2999-01-01T00:00:00+0000"}]
    assert advice.advise_on_changed_model(model, again) == advice.advise_on_changed_model(model, []) == ""
    assert advice.advise_on_changed_model(SimpleNamespace(path="Qwen/Qwen3-1.7B"), seeds) == ""


def test_a_model_folder_that_was_made_again_with_the_same_files_has_not_changed(tmp_path):
    weights, seeds = tmp_path / "model.safetensors", [{"seeds": [0], "finished": "2020-01-01T00:00:00+0000"}]
    weights.write_text("weights")
    model, seeds[0]["model"] = SimpleNamespace(path=str(tmp_path)), pretrained.digest(str(tmp_path))
    seeds.insert(0, seeds[0] | {"model": "of the weights before"})  # seed 0 was trained again
    assert advice.advise_on_changed_model(model, seeds) == ""
    weights.write_text("others")
    assert "has changed since" in advice.advise_on_changed_model(model, seeds)
