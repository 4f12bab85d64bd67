"""Models of the Hugging Face hub or of a local folder, and low-rank adapters."""

from typing import Any

import torch


def load(path: str, dtype: torch.dtype, attention: str) -> tuple[Any, Any]:
    """Model and tokenizer of a hub id or folder. Raises ValueError, with what to name instead, if they do not load."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation=attention)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"model.path={path}: cannot be loaded ({reason}); check the name, or name a local folder that holds "
            f"config.json, weights and tokenizer: model.path=FOLDER"
        ) from error
    _check_head(model, path)
    return model, tokenizer


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
