"""TRL with vLLM in the training process: what it draws is what the model that learns would, also after its steps."""

import os
import subprocess
import sys

import pytest
import torch

from conf.messages import ConfigError
from conf.resolve import compose_experiment
from store.runs import RunStore
from tests.helpers import ROOT, text_task
from training.noise import Noise

pytestmark = pytest.mark.vllm
ENGINE = ["algo=tpo", "engine=trl", "model.engine=vllm", "seeds=1", "device=cpu", "optim.lr=3e-3", "train.steps=3"]
ENGINE += ["env.batch=4", "env.candidates=4", "env.max_new_tokens=8", "train.eval_problems=4"]
TINY = ["model=tiny_qwen3", "model.hidden=64", "model.mlp=64", "model.heads=2", "model.layers=2", "model.dtype=float32"]


@pytest.fixture
def task(tmp_path):
    return [*text_task(tmp_path), *ENGINE, f"runs_dir={tmp_path}/runs"]


def test_the_engine_follows_the_model_that_learns(task, tmp_path):
    made = compose_experiment([*task, *TINY, "engine=suite", "model.engine=hf", "model.warm_accuracy=0"])
    policy = made.model.build(made.env.spec, Noise((0,)))
    policy.export(tmp_path / "model")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    command = [sys.executable, "run.py", *task, f"model={tmp_path}/model", "model.dtype=float32"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = RunStore(tmp_path / "runs").runs()
    frame = run.frame()
    mismatch = frame[frame.metric == "engine_mismatch"].value
    assert len(mismatch) == 3 and mismatch.max() < 5e-3  # nats per token
    from transformers import AutoModelForCausalLM

    learnt = AutoModelForCausalLM.from_pretrained(run.path / "policy" / "seed_0")
    moved = [(a - b).abs().max() for a, b in zip(learnt.parameters(), policy.model.parameters(), strict=True)]
    assert torch.stack(moved).max() > 5e-3


def test_a_model_without_a_folder_is_refused(task):
    with pytest.raises(ConfigError, match=r"engine=trl: model\.engine=vllm reads the model from a folder"):
        compose_experiment([*task, *TINY, "model.warm_accuracy=0"])
