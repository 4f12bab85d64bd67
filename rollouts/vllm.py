"""Completions drawn by vLLM in this process, from weights that are copied into it during training."""

import gc
import importlib.util
import math
import os
import tempfile
from typing import Any

import torch
from torch import Tensor

from rollouts.base import Engine, EngineOutput
from rollouts.weights import checkpoint_weights, without_adapters

INSTALL = (
    "engine=vllm: needs vLLM, which is not installed. Use model.engine=hf, or install vLLM into an environment of its "
    'own. With a CUDA GPU: pip install -e ".[vllm]". Without one: make .venv-vllm/installed'
)
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # a push needs the engine's weights in this process
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the threads are the trainer's too
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}
CPU_CACHE = 2**28  # bytes of keys and values on a machine without a GPU


def require_vllm() -> None:
    """Raise ValueError if vLLM is not installed, or if several processes were started."""
    if importlib.util.find_spec("vllm") is None:
        raise ValueError(INSTALL)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("engine=vllm: draws in one process, and several were started; use model.engine=hf")


def reload_weights(llm: Any, model: Any) -> None:
    """Give an engine of vLLM the weights that `model` has now."""
    llm.collective_rpc("reload_weights", kwargs={"weights_iterator": checkpoint_weights(model)})
    # keys and values of prompts seen before belong to the weights before
    llm.reset_prefix_cache()


class VLLMEngine(Engine):
    """Draws with vLLM, one request per completion, seeded by the first of its numbers. On a GPU it sleeps in between.

    stops   tokens that end a completion
    rows    completions drawn at once
    memory  share of the GPU's memory for weights, keys and values, while it draws
    window  largest number of tokens of a prompt with its completion; None: the model's own window
    eager   on a GPU, use no CUDA graphs, which is slower but needs less memory and starts sooner

    Raises RuntimeError if vLLM does not start.
    """

    def __init__(self, stops, rows: int, memory: float, window: int | None, eager: bool):
        self.stops, self.rows, self.memory, self.window, self.eager = list(stops), rows, memory, window, eager
        self.device, self.llm, self.asleep = torch.device("cpu"), None, False

    def push(self, model) -> None:
        self.device = model.device
        if self.llm is None:
            self.llm = self._start(model)
        self._wake()
        reload_weights(self.llm, model)

    def generate(self, prompts, k, uniforms) -> EngineOutput:
        length = uniforms.shape[1]
        longest, window = max(map(len, prompts)) + length, self.llm.model_config.max_model_len
        if longest > window:
            # vLLM itself would cut the completion short
            raise ValueError(f"model.vllm_window={window}: a prompt with its completion has {longest} tokens; raise it")
        self._wake()
        asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts for _ in range(k)]
        outputs = self.llm.generate(asked, self._settings(uniforms), use_tqdm=False)
        self._sleep()
        return self._completions([output.outputs[0] for output in outputs], length)

    def close(self) -> None:
        if self.llm is not None:
            self.llm.llm_engine.engine_core.shutdown()
            self.llm, self.asleep = None, False
            gc.collect()

    def _start(self, model) -> Any:
        """An engine for models of this shape, without weights until the first push."""
        causal = without_adapters(model)
        gpu = self.device.type == "cuda"
        memory = {"gpu_memory_utilization": self.memory} if gpu else {"kv_cache_memory_bytes": CPU_CACHE}
        with tempfile.TemporaryDirectory() as folder:
            causal.config.architectures = [type(causal).__name__]
            causal.config.save_pretrained(folder)
            try:
                return _vllm().LLM(
                    model=folder,
                    load_format="dummy",
                    skip_tokenizer_init=True,
                    dtype=str(causal.dtype).removeprefix("torch."),
                    enforce_eager=self.eager or not gpu,
                    max_model_len=self.window,
                    max_num_seqs=self.rows,
                    enable_prefix_caching=True,
                    enable_sleep_mode=gpu,
                    logprobs_mode="processed_logprobs",
                    seed=0,
                    **memory,
                )
            except (RuntimeError, ValueError) as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
                raise RuntimeError(
                    f"model.engine=vllm: does not start with vllm_memory={self.memory}, vllm_window={self.window} "
                    f"({reason}); a shorter window needs less memory"
                ) from error

    def _settings(self, uniforms: Tensor) -> list[Any]:
        """Sampling parameters of the requests: one seed each, or the likeliest token each time."""
        common = {"max_tokens": uniforms.shape[1], "stop_token_ids": self.stops, "logprobs": 0, "detokenize": False}
        greedy = {"temperature": 0.0}
        first = uniforms[:, 0].tolist()
        own = [greedy if math.isnan(u) else {"temperature": 1.0, "seed": int(u * 2**24)} for u in first]
        return [_vllm().SamplingParams(**common, **settings) for settings in own]

    def _completions(self, found: list[Any], length: int) -> EngineOutput:
        lengths = torch.tensor([len(one.token_ids) for one in found])
        tokens, logp = torch.zeros(len(found), length, dtype=torch.long), torch.zeros(len(found), length)
        for i, one in enumerate(found):
            tokens[i, : lengths[i]] = torch.tensor(one.token_ids)
            given = [at[token].logprob for token, at in zip(one.token_ids, one.logprobs, strict=True)]
            logp[i, : lengths[i]] = torch.tensor(given)
        truncated = torch.tensor([one.finish_reason == "length" for one in found])
        return EngineOutput(*(x.to(self.device) for x in (tokens, lengths, truncated, logp)))

    def _sleep(self) -> None:
        """Free the GPU's memory for the update."""
        if self.device.type == "cuda":
            self.llm.sleep(level=1)
            self.asleep = True

    def _wake(self) -> None:
        if self.asleep:
            torch.cuda.empty_cache()  # what the update no longer uses
            self.llm.wake_up()
            self.asleep = False


def _vllm() -> Any:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import vllm

    return vllm
