"""The author's parameter tree, in Flax's names, as parameters of our transformer."""

import numpy as np
import torch
from torch import Tensor

from models.transformer import Transformer, TransformerConfig


def names(layers: int) -> dict[str, str]:
    """{our parameter: path in the Flax tree}."""
    found = {"embed": "Embed_0/embedding", "position": "pos_emb"}
    for i in range(layers):
        for ours, theirs in (("norm1", f"LayerNorm_{2 * i}"), ("norm2", f"LayerNorm_{2 * i + 1}")):
            found |= {f"{i}.{ours}.{part}": f"{theirs}/{part}" for part in ("scale", "bias")}
        attention = {part: f"SelfAttention_{i}/{part}" for part in ("query", "key", "value", "out")}
        for ours, theirs in {**attention, "up": f"Dense_{2 * i}", "down": f"Dense_{2 * i + 1}"}.items():
            found |= {f"{i}.{ours}.{part}": f"{theirs}/{part}" for part in ("kernel", "bias")}
    found |= {f"norm.{part}": f"LayerNorm_{2 * layers}/{part}" for part in ("scale", "bias")}
    return found | {f"head.{part}": f"Dense_{2 * layers}/{part}" for part in ("kernel", "bias")}


def load(data: dict[str, np.ndarray], prefix: str) -> Transformer:
    """The transformer of `data` whose parameters start with `prefix`, in float64, as a single seed."""
    cfg = TransformerConfig(int(data["d_model"]), int(data["num_heads"]), int(data["num_layers"]))
    paths = names(cfg.layers)
    return Transformer(cfg, {name: tensor(data, f"{prefix}/params/{path}") for name, path in paths.items()})


def tensor(data: dict[str, np.ndarray], key: str) -> Tensor:
    """An array as a single seed; floats in double, so that what differs is the author's rounding alone."""
    value = torch.as_tensor(data[key]).unsqueeze(0)
    return value.double() if value.is_floating_point() else value
