"""What users of language models may get wrong: refused, or stopped, in one line that says what to do."""

import importlib.util

import pytest
import torch

from launch.command_line import parsed, prepare, quoted
from tests.helpers import experiment
from training.experiment import build, explain_out_of_memory

TINY = ("env=arithmetic", "seeds=1", "train.steps=1", "model.layers=1", "model.hidden=8", "model.heads=1")
TINY += ("model.kv_heads=1", "model.head_dim=4", "model.mlp=8", "model.warm_accuracy=0", "env.batch=2")
REFUSED = {
    "env=arithmetic model=mlp": ["model=mlp", "env=arithmetic", "model=tiny_qwen3"],
    "env=dense_reversal model=tiny_qwen3": ["model=tiny_qwen3", "env=dense_reversal", "model=transformer"],
    "env=arithmetic optim=adam": ["optim=adam", "adamw_clipped"],
    "env=arithmetic env.candidates=1 algo=grpo": ["env.candidates=1: must be >= 2"],
    "env=arithmetic model=hf": ["model.path=null", "model=Qwen/Qwen3-1.7B"],
    "env=arithmetic model.engine=vlm": ["model.engine=vlm", "hf, vllm"],
    "env=arithmetic model.dtype=int8": ["model.dtype=int8", "bfloat16"],
    "env=arithmetic model.lora_rank=0": ["model.lora_rank=0", "null or >= 1"],
    "env=arithmetic model.kv_heads=3": ["model.kv_heads=3", "a divisor of heads=4"],
    "env=arithmetic train.micro_batch=0": ["train.micro_batch=0", "null or >= 1"],
    "env=arithmetic train.phase=dpo": ["train.phase=dpo", "rl, sft"],
    "env=arithmetic train.phase=sft model.warm_accuracy=0": ["train.phase=sft", "no warm start"],
    "env=arithmetic algo=dg match=interactions": ["match=interactions", "use match=prompts"],
    "train.eval_every=5": ["train.eval_every=5", "no held-out problems"],
    "train.kl_beta=-1": ["train.kl_beta=-1.0", ">= 0"],
}


@pytest.mark.parametrize("args", REFUSED)
def test_bad_input_is_refused(cli, args):
    code, out = cli(*args.split())
    assert code == 2 and "Traceback" not in out and len(out.splitlines()) <= 2
    for text in REFUSED[args]:
        assert text in out


def test_model_ids_and_folders_are_spelled_out(tmp_path):
    assert prepare(["algo=tpo", "model=mlp", "model=tiny_qwen3"]) == ["algo=tpo", "model=mlp", "model=tiny_qwen3"]
    assert prepare(["model=Qwen/Qwen3-1.7B,a/b"]) == ["model=hf", "model.path='Qwen/Qwen3-1.7B','a/b'"]
    assert prepare([f"model={tmp_path}"]) == ["model=hf", f"model.path='{tmp_path}'"]


def test_a_missing_library_is_named_with_its_command(cli, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else found(name))
    code, out = cli("env=arithmetic")
    assert code == 2 and 'transformers, which is not installed: pip install -c constraints.txt -e ".[rlvr]"' in out


def test_a_model_that_is_nowhere_is_answered_with_a_folder(cli, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for path, found, text in (("no/such-model", 1, "cannot be loaded"), (str(tmp_path), 2, "has a config.json")):
        code, out = cli("env=arithmetic", f"model={path}", "seeds=1", "train.steps=1")
        assert code == found and "Traceback" not in out
        assert f"model.path={path}: " in out and text in out


def test_a_prompt_that_leaves_no_room_is_explained(tmp_path):
    with pytest.raises(ValueError, match=r"env.max_new_tokens=8: .*window of 12; lower it"):
        build(experiment(tmp_path, *TINY, "model.window=12"), (0,))
    with pytest.raises(ValueError, match=r"does not fit into the model's window of 4; shorten it"):
        build(experiment(tmp_path, *TINY, "model.window=4"), (0,))


def test_a_checkpoint_of_another_model_is_named(tmp_path):
    ours, theirs = (build(experiment(tmp_path, *TINY, f"model.mlp={size}"), (0,)) for size in (8, 16))
    with pytest.raises(ValueError, match="checkpoint is of another model; force=true"):
        ours.load_state_dict(theirs.state_dict())


def test_out_of_memory_names_what_to_lower(tmp_path):
    exp = experiment(tmp_path, *TINY, "model.rollout_rows=64")
    explained = str(explain_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"), exp))
    for text in ("env.candidates (now 16)", "env.max_new_tokens (now 8)", "model.rollout_rows (now 64)"):
        assert text in explained
    assert "train.micro_batch (now null)" in explained and "model.lora_rank" in explained
    assert "train.seed_block" not in explained


@pytest.mark.parametrize("text", ["a'b", r"folder\x", "folder\\", "\\\\", r"\'", "a, [b]=c", ""])
def test_quoted_text_is_read_as_it_was_written(text):
    assert parsed(f"key={quoted(text)}").value() == text
