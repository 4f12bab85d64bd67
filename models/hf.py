"""Language models: any that transformers loads, and a tiny one that is made from its settings."""

import importlib.util
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import torch

from algorithms.base import require
from models import gguf, pretrained
from models.base import ModelConfig
from models.language import LanguagePolicy, end_tokens, tokens_with
from rollouts import vllm
from rollouts.base import Engine
from rollouts.hf import HFEngine

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
ENGINES = ("hf", "vllm")
INSTALL = 'pip install -c constraints.txt -e ".[rlvr]"'


@dataclass(frozen=True)
class LanguageModelConfig(ModelConfig):
    """Settings of every language model.

    dtype           of the weights: bfloat16, float16, float32, which a CPU is faster with, or float64, to compare runs
                    exactly
    attention       transformers' attn_implementation: eager, sdpa, flash_attention_2, ...
    lora_rank       train adapters of this rank on all linear layers, scaled by lora_alpha / lora_rank; null: train all
    gradient_checkpointing  compute activations again in the backward pass, which saves memory
    engine          what draws completions: hf or vllm
    rollout_dtype   of a copy of the weights that the engine hf draws from, which is faster where the processor computes
                    in bfloat16 itself; log-probs are those of the trainer all the same; null: draw from the weights
    rollout_rows    completions drawn at once, in training and in evaluation, at least one group. It changes memory, not
                    results
    vllm_memory     share of a GPU's memory for the engine vllm, while it draws
    vllm_window     the most tokens of a prompt with its completion in the engine vllm; null: the model's own window
    vllm_eager      no CUDA graphs in the engine vllm: slower, in less memory and with a shorter start
    max_mismatch    mean |log-prob of the engine - that of the trainer| per token, in nats, at which a run stops

    Raises ValueError for what is not among these, or a missing library.
    """

    stacked: ClassVar[bool] = False
    context_type: ClassVar[str] = "text"

    dtype: str = "bfloat16"
    attention: str = "sdpa"
    lora_rank: int | None = None
    lora_alpha: int = 32
    gradient_checkpointing: bool = False
    engine: str = "hf"
    rollout_dtype: str | None = None
    rollout_rows: int = 256
    vllm_memory: float = 0.3
    vllm_window: int | None = None
    vllm_eager: bool = False
    max_mismatch: float = 0.3

    def __post_init__(self):
        require(self.dtype in DTYPES, "dtype", self.dtype, f"one of {', '.join(DTYPES)}")
        require(self.engine in ENGINES, "engine", self.engine, f"one of {', '.join(ENGINES)}")
        exact_is_hf = self.dtype != "float64" or self.engine == "hf"
        require(exact_is_hf, "dtype", self.dtype, f"float32, bfloat16 or float16 with engine={self.engine}")
        exact_is_fused = self.dtype != "float64" or self.attention != "eager"  # whose softmax is in float32
        require(exact_is_fused, "attention", self.attention, "sdpa with dtype=float64")
        require(self.rollout_dtype in (None, "bfloat16"), "rollout_dtype", self.rollout_dtype, "null or bfloat16")
        hf_only = self.rollout_dtype is None or self.engine == "hf"
        require(hf_only, "rollout_dtype", self.rollout_dtype, f"null with engine={self.engine}")
        for key in ("lora_rank", "vllm_window"):
            require(getattr(self, key) is None or getattr(self, key) >= 1, key, getattr(self, key), "null or >= 1")
        for key in ("lora_alpha", "rollout_rows"):
            require(getattr(self, key) >= 1, key, getattr(self, key), ">= 1")
        require(0 < self.vllm_memory < 1, "vllm_memory", self.vllm_memory, "in (0, 1)")
        require(self.max_mismatch > 0, "max_mismatch", self.max_mismatch, "> 0")
        _require_installed("transformers", self.name)
        if self.lora_rank:
            _require_installed("peft", f"{self.name} with lora_rank={self.lora_rank}")
        if self.engine == "vllm":
            vllm.require_vllm()

    def build(self, spec, noise) -> LanguagePolicy:
        """The policy of the one seed of `noise`; raises ValueError where the model cannot be loaded or does not fit."""
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # of each tensor that is read or written
        seed = int(noise.uniform("init", 1).item() * 2**24)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model, tokenizer = self._load(spec, DTYPES[self.dtype])
            if self.lora_rank:
                model = pretrained.with_lora(model, self.lora_rank, self.lora_alpha)
        stops = set(end_tokens(model, tokenizer))
        if spec.stop is not None:
            stops.update(tokens_with(spec.stop, tokenizer))
        engine, made_from = self._engine(sorted(stops)), (self, seed, pretrained.digest(getattr(self, "path", None)))
        return LanguagePolicy(model, tokenizer, engine, self.max_mismatch, self.gradient_checkpointing, made_from)

    def parameter_count(self) -> int | None:
        """Number of weights, where it is known before the model is loaded."""
        return None

    def _load(self, spec, dtype: torch.dtype) -> tuple[Any, Any]:
        """Model and tokenizer."""
        raise NotImplementedError

    def _engine(self, stops: list[int]) -> Engine:
        if self.engine == "hf":
            own = self.rollout_dtype not in (None, self.dtype)
            return HFEngine(stops, self.rollout_rows, DTYPES[self.rollout_dtype] if own else None)
        return vllm.VLLMEngine(stops, self.rollout_rows, self.vllm_memory, self.vllm_window, self.vllm_eager)


@dataclass(frozen=True)
class HFConfig(LanguageModelConfig):
    """A model of the Hugging Face hub, or a local folder in its format or with one GGUF file, named by `path`."""

    name = "hf"

    path: str | None = None

    def __post_init__(self):
        super().__post_init__()
        require(bool(self.path), "path", self.path, "a model id of the hub or a local folder: model=Qwen/Qwen3-1.7B")
        folder = Path(self._folder)
        if self.path in pretrained.MADE_BY:
            made = (folder / "config.json").exists()
            require(made, "path", self.path, f"there first: {pretrained.MADE_BY[self.path]} makes it, once")
        if folder.is_dir() or self.path.startswith(("/", ".", "~")):
            whole = not (folder / "adapter_config.json").exists()
            merged = "a whole model; this folder has adapters, which merge_and_unload of peft adds to their model"
            require(whole, "path", self.path, merged)
            there = (folder / "config.json").exists() or gguf.file_in(self._folder)
            allowed = "a folder with a model in transformers' format, which has a config.json, or with a GGUF file"
            require(bool(there), "path", self.path, allowed)
        self.parameter_count()  # a damaged file is refused before any work

    @property
    def _folder(self) -> str:
        return pretrained.folder(self.path)

    def parameter_count(self) -> int | None:
        return pretrained.parameter_count(self._folder)

    def remark(self) -> str:
        file = gguf.file_in(self._folder)
        if file is None:
            return ""
        return f"{file}: {gguf.read(file)[1]} weights, dequantised to {self.dtype}; what is trained is not quantised"

    def _load(self, spec, dtype: torch.dtype) -> tuple[Any, Any]:
        return pretrained.load(self._folder, dtype, self.attention)


@dataclass(frozen=True)
class TinyQwen3Config(LanguageModelConfig):
    """Qwen3's architecture at any size with the task's own tokenizer, warm-started on right answers before RLVR.

    warm_accuracy  share of sampled answers to validation problems that are right, at which the warm start ends;
                   null: as the task has it; 0: none, the model starts untrained
    warm_steps     the most steps that it may take, of warm_batch right answers with AdamW at warm_lr
    warm_seed      of its noise, the same for every seed of a run

    Raises ValueError for impossible sizes.
    """

    name = "tiny_qwen3"

    layers: int = 4
    hidden: int = 192
    mlp: int = 768
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    window: int = 4096
    tied: bool = True
    warm_accuracy: float | None = None
    warm_steps: int = 5000
    warm_batch: int = 256
    warm_lr: float = 1e-3
    warm_seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        for key in ("layers", "hidden", "mlp", "heads", "kv_heads", "window", "warm_steps", "warm_batch"):
            require(getattr(self, key) >= 1, key, getattr(self, key), ">= 1")
        require(self.heads % self.kv_heads == 0, "kv_heads", self.kv_heads, f"a divisor of heads={self.heads}")
        require(self.head_dim >= 2 and self.head_dim % 2 == 0, "head_dim", self.head_dim, "even and >= 2")
        allowed = self.warm_accuracy is None or 0 <= self.warm_accuracy < 1
        require(allowed, "warm_accuracy", self.warm_accuracy, "null or in [0, 1)")
        require(self.warm_lr > 0, "warm_lr", self.warm_lr, "> 0")
        require(self.warm_seed >= 0, "warm_seed", self.warm_seed, ">= 0")

    def warm_start_settings(self) -> dict[str, Any]:
        """The settings that make its warm start."""
        shared = {field.name for field in fields(LanguageModelConfig)}
        return {key: value for key, value in asdict(self).items() if key not in shared}

    def with_weights_from(self, folder: Path) -> HFConfig:
        """The model that was saved in `folder`, to be used as this one."""
        shared = {field.name: getattr(self, field.name) for field in fields(LanguageModelConfig)}
        return HFConfig(path=str(folder), **shared)

    def _load(self, spec, dtype: torch.dtype) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM, Qwen3Config

        tokenizer = spec.tokenizer()
        config = Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden,
            intermediate_size=self.mlp,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            head_dim=self.head_dim,
            max_position_embeddings=self.window,
            tie_word_embeddings=self.tied,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        return AutoModelForCausalLM.from_config(config, attn_implementation=self.attention, dtype=dtype), tokenizer


def _require_installed(library: str, what: str) -> None:
    if importlib.util.find_spec(library) is None:
        raise ValueError(f"name={what}: needs {library}, which is not installed: {INSTALL}")
