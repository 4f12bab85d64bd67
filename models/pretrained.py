"""Models of the Hugging Face hub or of a local folder, and low-rank adapters."""

import contextlib
import functools
import hashlib
import inspect
import io
import math
import os
from pathlib import Path
from typing import Any

import torch

from models import gguf
from rollouts.prompts import empty_cache, has_states

ROOT = Path(__file__).resolve().parents[1]
OF_SAMPLING = ("temperature", "top_p", "top_k", "top_h", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
MADE_BY = {"pretrained/smollm2": "make smollm2"}  # folders of the repository, and what makes them


def folder(path: str) -> str:
    """Where to find the model that `path` names: the suite's own folders lie in the repository."""
    return str(ROOT / path) if path in MADE_BY else os.path.expanduser(path)


def digest(path: str | None) -> str | None:
    """SHA-256 of the files in a model's local folder, as 12 hexadecimal digits; None where there is no such folder."""
    there = Path(folder(path)) if path else None
    if there is None or not there.is_dir():
        return None
    files = [(file, file.stat()) for file in sorted(there.iterdir()) if file.is_file()]
    return _digest(tuple((file, about.st_mtime_ns, about.st_size) for file, about in files))


@functools.cache
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str | None:
    """Of files, each with the time of its last change and its size; None where one cannot be read."""
    known = hashlib.sha256()
    try:
        for file, *_ in files:
            with file.open("rb") as opened:
                known.update(file.name.encode() + hashlib.file_digest(opened, "sha256").digest())
    except OSError:
        return None
    return known.hexdigest()[:12]


def parameter_count(path: str) -> int | None:
    """Number of weights of a local folder, without loading them; None where it is not known.

    Raises ValueError for a damaged file.
    """
    file = gguf.file_in(path)
    if file is not None:
        return gguf.read(file)[0]
    files = sorted(Path(path).glob("*.safetensors"))
    return sum(map(_weights, files)) if files else None


def _weights(file: Path) -> int:
    """The number of weights in a safetensors file; raises ValueError for a file that is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            return sum(math.prod(opened.get_slice(name).get_shape()) for name in opened.keys())  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"path={file.parent}: {file.name} is no safetensors file, or cut off ({error})") from None


def load(path: str, dtype: torch.dtype, attention: str) -> tuple[Any, Any]:
    """Model and tokenizer of a hub id or folder. Raises ValueError, with what to name instead, if they do not load.

    The weights of a GGUF file are dequantised.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    file = gguf.file_in(path)
    options = {} if file is None else {"gguf_file": file.name}
    try:
        with contextlib.redirect_stderr(io.StringIO()) if file else contextlib.nullcontext():  # of progress bars
            AutoConfig.from_pretrained(path, **options)  # fails after one file without a network
            tokenizer = AutoTokenizer.from_pretrained(path, **options)
            model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation=attention, **options)
    except Exception as error:  # each file format raises its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"model.path={path}: cannot be loaded ({reason}); check the name, or name a local folder that holds "
            f"config.json, weights and tokenizer, or a GGUF file: model.path=FOLDER"
        ) from error
    if file is not None:
        gguf.forget_quantisation(model)
    check_states(model, path)
    _check_head(model, path)
    _make_storable(model.generation_config)
    return model, tokenizer


def _make_storable(config: Any) -> None:
    """Drop settings of sampling without do_sample=true, which transformers reads in some folders but does not write."""
    if not config.do_sample:
        config.update(**dict.fromkeys(OF_SAMPLING))


def check_states(model: Any, path: str) -> None:
    """Raise ValueError if the layers of a model keep states that transformers' cache does not hold.

    Completions that are drawn together could not go on from states of their own.
    """
    takes_cache = "past_key_values" in inspect.signature(model.get_decoder().forward).parameters
    if model._is_stateful and not (takes_cache and has_states(empty_cache(model.config))):
        fault = f"{type(model).__name__} keeps its state outside of transformers' common cache; not supported"
        raise ValueError(f"model.path={path}: {fault}")


@torch.no_grad()
def _check_head(model: Any, path: str) -> None:
    """Raise ValueError if the model scales or caps its logits after the output layer."""
    tokens = torch.tensor([[0, 1]], device=model.device)
    plain = model.get_output_embeddings()(model.get_decoder()(input_ids=tokens).last_hidden_state)
    if not torch.allclose(model(input_ids=tokens).logits.float(), plain.float(), atol=1e-2, rtol=1e-2):
        raise ValueError(f"model.path={path}: its logits are scaled or capped after the output layer; not supported")


def with_lora(model: Any, rank: int, alpha: int) -> Any:
    """The model with low-rank adapters on all linear layers; only the adapters are trained."""
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, settings)
