"""Hydra and pyplot keep global state, so every test starts and ends without it."""

import os
import sys

import pytest
from hydra.core.global_hydra import GlobalHydra

from tests.helpers import command

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's library is first imported; no test waits for a network


@pytest.fixture(autouse=True)
def fresh_state():
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """`python run.py ARGS` in this process, with its own runs_dir: (exit code, output)."""
    monkeypatch.chdir(tmp_path)
    return lambda *args: command(monkeypatch, capsys, *args, "runs_dir=runs")
