"""The benchmarks of language models measure what they say, from settings like those of a run."""

import importlib.util
import subprocess
import sys

import pytest

from benchmarks import rlvr, trl
from conf.messages import ConfigError
from tests.helpers import ROOT

TINY = ["model=tiny_qwen3", "model.layers=1", "model.hidden=8", "model.heads=1", "model.kv_heads=1"]
TINY += ["model.head_dim=4", "model.mlp=8"]


def test_both_ways_to_draw_are_measured():
    env, model = rlvr.read(TINY, 2, 4, 3)
    assert (env.batch, env.candidates, env.max_new_tokens, env.stop) == (2, 4, 3, None)
    found = {case.model.rollout_dtype: case for case in rlvr.cases(env, model, (None,))}
    assert set(found) == {None, "bfloat16"}
    for case in found.values():
        times = rlvr.measure(case, 2)
        assert 0 < times["rollout"] < times["all"] and times["processor"] > 0
        assert 2 * 4 <= times["tokens"] <= 2 * 4 * 3


def test_a_setting_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"model=smolm2: not found .did you mean smollm2"):
        rlvr.read(["model=smolm2"], 2, 4, 3)


@pytest.mark.skipif(importlib.util.find_spec("trl") is not None, reason="there is TRL, which tests/test_trl.py is for")
def test_without_trl_the_command_that_installs_it_is_named():
    done = subprocess.run([sys.executable, "-m", "benchmarks.trl"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "make .venv-engines/installed" in done.stderr


@pytest.mark.engines
def test_trl_takes_the_same_steps():
    env, model = rlvr.read(TINY, 2, 4, 3)
    times = trl.measure_trl(env, model, 2)
    assert 0 < times["rollout"] < times["all"] and times["processor"] > 0
    assert 2 * 4 <= times["tokens"] <= 2 * 4 * 3
