"""Completions from a rounded copy of the weights: the copy follows the policy, and the log-probs are the trainer's."""

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.testing import assert_close

from rollouts.weights import low_precision_copy
from store.identity import run_id
from tests.helpers import composed, experiment
from tests.test_rlvr import TINY
from training import memory
from training.advice import advise_on_rollout_dtype
from training.experiment import build, execute
from training.samplers.completions import completions

COPY = "model.rollout_dtype=bfloat16"


def rounded(model) -> dict[str, torch.Tensor]:
    return {name: tensor.bfloat16() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("settings", [(), ("model.lora_rank=2", "model.tied=false")], ids=["all weights", "adapters"])
def test_the_engine_draws_from_the_rounded_weights_of_the_last_push(tmp_path, settings):
    trainer = build(experiment(tmp_path, *TINY, COPY, *settings), (0,))
    policy, engine = trainer.policy, trainer.policy.engine
    for _ in range(2):
        with torch.no_grad():
            rollout = completions(trainer.env, policy, trainer.noise.at_step(trainer.step + 1))
        merged = policy.model
        if policy.has_adapters:
            merged = low_precision_copy(policy.model, torch.float32)
            assert not any("lora" in name for name in engine.model.state_dict())
        expected = rounded(merged)
        assert expected.keys() == engine.model.state_dict().keys()
        for name, tensor in engine.model.state_dict().items():
            assert torch.equal(tensor, expected[name]), name
        assert all(p.dtype == torch.float32 for p in policy.parameters())
        assert all(b.dtype == torch.float32 for b in engine.model.buffers())
        assert rollout.batch.logp_old.dtype == torch.float32
        assert_close(rollout.logp(policy).detach(), rollout.batch.logp_old, atol=1e-5, rtol=0)
        assert 1e-6 < rollout.metrics["engine_mismatch"].item() < 0.1
        trainer.train_step()  # the weights move, so that the next push differs
    assert sum(p.numel() for p in engine.model.parameters() if p.requires_grad) == 0


def test_a_copy_that_is_too_coarse_stops_the_run(tmp_path):
    exp = experiment(tmp_path, *TINY, COPY, "model.max_mismatch=1e-6")
    outcome = execute(exp, Console(quiet=True))
    assert outcome.status == "failed"
    assert "above model.max_mismatch=1e-06" in outcome.message and "model.rollout_dtype=null" in outcome.message


def test_weights_of_that_precision_need_no_copy_and_a_run_without_one_is_the_same_run(tmp_path):
    policy = build(experiment(tmp_path, *TINY, COPY, "model.dtype=bfloat16"), (0,)).policy
    policy.complete([[1, 5]], 1, torch.rand(1, 1))
    assert policy.engine.model is policy.model
    plain, copied = (experiment(tmp_path, *TINY, *more).config for more in ((), (COPY,)))
    assert run_id(plain) != run_id(copied)
    older = plain | {"model": {k: v for k, v in plain["model"].items() if k != "rollout_dtype"}}
    assert run_id(older) == run_id(plain)


def test_it_learns_from_what_it_draws(tmp_path):
    outcome = execute(experiment(tmp_path, *TINY, COPY, "algo=grpo"), Console(quiet=True))
    assert outcome.status == "done", outcome.message
    curve = outcome.run.frame().pivot_table(index="step", columns="metric", values="value")
    assert np.isfinite(curve.engine_mismatch.dropna()).all() and (curve.engine_mismatch.dropna() > 0).all()


def test_a_processor_without_bfloat16_is_named_and_one_with_it_is_not(tmp_path, monkeypatch):
    model, cpu = experiment(tmp_path, *TINY, COPY).model, torch.device("cpu")
    for capabilities, slow in (({"avx2": True, "avx512_bf16": False}, True), ({"avx512_bf16": True}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)
        said = advise_on_rollout_dtype(model, cpu)
        assert ("rollout_dtype=bfloat16" in said and "null is faster" in said) == slow == bool(said)
    assert not advise_on_rollout_dtype(experiment(tmp_path, *TINY).model, cpu)
    assert not advise_on_rollout_dtype(model, torch.device("cuda"))


def test_memory_counts_the_copy(tmp_path, monkeypatch):
    model = experiment(tmp_path, *TINY, COPY).model
    monkeypatch.setattr(type(model), "parameter_count", lambda self: 1000)
    assert memory.needed(model, False)["the copy to draw from"] == 2000


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (("model.rollout_dtype=int8",), "rollout_dtype=int8: must be null or bfloat16"),
        ((COPY, "model.engine=vllm"), "rollout_dtype=bfloat16: must be null with engine=vllm"),
    ],
)
def test_what_cannot_be_is_refused(cli, settings, text):
    code, out = cli("env=arithmetic", *settings)
    assert code == 2 and text in out and len(out.splitlines()) <= 2


def test_the_setting_is_off_by_default():
    assert composed("env=arithmetic").model.rollout_dtype is None
