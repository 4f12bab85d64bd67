"""Hydra, pyplot and first evaluations keep global state, so every test starts and ends without it."""

import os
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from tests import helpers

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's library is first imported; no test waits for a network


def pytest_addoption(parser):
    text = "hold the algorithms, tasks and models of this folder to their contracts too: pytest --own=FOLDER -k NAME"
    parser.addoption("--own", metavar="FOLDER", type=Path, help=text)


def pytest_configure(config):
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the tests hold a CPU to its promises, and so do processes they start
    folder = config.getoption("--own")
    if folder is not None and not folder.is_dir():
        raise pytest.UsageError(f"--own {folder}: no such folder; name one that holds NAME.py and NAME.yaml")
    helpers.own = folder and folder.resolve()


@pytest.fixture(autouse=True)
def fresh_state():
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()
    if "training.observers.held_out" in sys.modules:
        sys.modules["training.observers.held_out"].before_training.clear()
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """`python run.py ARGS` in this process, with its own runs_dir: (exit code, output)."""
    monkeypatch.chdir(tmp_path)
    return lambda *args: helpers.command(monkeypatch, capsys, *args, "runs_dir=runs")
