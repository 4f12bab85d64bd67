"""The weights of a model that is trained, as an engine takes them over."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def checkpoint_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors as in a checkpoint of the model, with adapters merged and with a tied head."""
    causal = without_adapters(model)
    for name, tensor in causal.state_dict().items():
        if ".lora_" in name:
            continue
        if name.endswith(".base_layer.weight"):
            layer = causal.get_submodule(name.removesuffix(".base_layer.weight"))
            change = sum(layer.get_delta_weight(adapter) for adapter in layer.active_adapters)
            tensor = (tensor + change).to(tensor.dtype)
        yield name.replace(".base_layer.", "."), tensor


def without_adapters(model: Any) -> Any:
    """The transformers model below peft's adapters, if it has any."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def low_precision_copy(model: Any, dtype: torch.dtype) -> Any:
    """A copy of a model with its weights rounded to `dtype`, and with adapters merged into them.

    Its buffers, such as frequencies, are not rounded.
    """
    copied = copy.deepcopy(model)
    if hasattr(copied, "merge_and_unload"):
        copied = copied.merge_and_unload()
    for parameter in copied.requires_grad_(False).parameters():
        parameter.data, parameter.grad = parameter.data.to(dtype), None
    return copied.eval()


@torch.no_grad()
def copy_weights(model: Any, copied: Any) -> None:
    """Write the weights that `model` has now into its `low_precision_copy`."""
    state = copied.state_dict()
    for name, tensor in checkpoint_weights(model):
        state[name].copy_(tensor)
