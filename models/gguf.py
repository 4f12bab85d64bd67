"""GGUF files, llama.cpp's format of quantised weights: found in a folder, counted, and made trainable."""

import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any

from algorithms.base import require

INSTALL = "pip install -c constraints.txt gguf"


def file_in(path: str) -> Path | None:
    """The one GGUF file of a folder without config.json; None if there is none. Raises ValueError for several."""
    folder = Path(path)
    if not folder.is_dir() or (folder / "config.json").exists():
        return None
    found = sorted(folder.glob("*.gguf"))
    names = ", ".join(file.name for file in found)
    require(len(found) < 2, "path", path, f"a folder with one GGUF file; it has {names}")
    return found[0] if found else None


def read(file: Path) -> tuple[int, str]:
    """Number of weights, and the commonest format of those that are quantised.

    Raises ValueError for a file that is no GGUF or is cut off, and without the library that reads it.
    """
    if importlib.util.find_spec("gguf") is None:
        raise ValueError(f"path={file.parent}: {file.name} needs gguf, which is not installed: {INSTALL}")
    from gguf import GGUFReader

    try:
        tensors = GGUFReader(file).tensors
    except Exception as error:  # the reader checks little, so that a damaged file fails anywhere
        reason = str(error).strip() or type(error).__name__
        raise ValueError(f"path={file.parent}: {file.name} is no GGUF file, or cut off ({reason})") from None
    require(bool(tensors), "path", file.parent, f"a folder whose {file.name} holds weights")
    formats = Counter()
    for tensor in tensors:
        formats[tensor.tensor_type.name] += int(tensor.n_elements)
    return formats.total(), formats.most_common(1)[0][0]


def forget_quantisation(model: Any) -> None:
    """Let transformers save and train a model whose weights it has dequantised like any other."""
    del model.config.quantization_config
    model.is_quantized, model.hf_quantizer, model.quantization_method = False, None, None
