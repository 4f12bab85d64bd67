"""Labelled images: MNIST from a folder or the public hub, and scikit-learn's digits, which need no download."""

import functools
import gzip
import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from algorithms.base import require
from envs.hub import fetch

HUB = "ylecun/mnist"
FILES = {  # name without .gz: magic number, shape
    "train-images-idx3-ubyte": (2051, (60000, 28, 28)),
    "train-labels-idx1-ubyte": (2049, (60000,)),
    "t10k-images-idx3-ubyte": (2051, (10000, 28, 28)),
    "t10k-labels-idx1-ubyte": (2049, (10000,)),
}
TEST_DIGITS = 360


@dataclass(frozen=True)
class Images:
    """Pixels (N,F) in [0, 1] and labels (N,) of training and test images."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


@functools.cache
def load(dataset: str, data_dir: str | None) -> Images:
    """The images of "mnist" or "digits". Raises ValueError that says what was found and what was expected."""
    if dataset == "digits":
        return _digits()
    return _idx(Path(os.path.expanduser(data_dir))) if data_dir else _hub()


def _digits() -> Images:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    pixels = torch.from_numpy(pixels).float()[order] / 16
    labels = torch.from_numpy(labels).long()[order]
    return Images(pixels[TEST_DIGITS:], labels[TEST_DIGITS:], pixels[:TEST_DIGITS], labels[:TEST_DIGITS])


def _idx(folder: Path) -> Images:
    return _scaled(*(_file(folder, name) for name in FILES))


def _scaled(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> Images:
    """Images of pixels (N,28,28) from 0 to 255."""
    pixels, test_pixels = (x.flatten(1).float() / 255 for x in (train, test))
    return Images(pixels, train_labels.long(), test_pixels, test_labels.long())


def _file(folder: Path, name: str) -> Tensor:
    """The content of an IDX file, which may be gzipped: magic number, sizes of the dimensions (big-endian), bytes."""
    magic, shape = FILES[name]
    found = [path for path in (folder / name, folder / f"{name}.gz") if path.exists()]
    require(bool(found), "data_dir", folder, f"a folder that holds {name} or {name}.gz")
    try:
        data = gzip.decompress(found[0].read_bytes()) if found[0].suffix == ".gz" else found[0].read_bytes()
    except (OSError, EOFError, gzip.zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"data_dir={folder}: cannot read {found[0].name} ({reason})") from None
    header = [int.from_bytes(data[i : i + 4], "big") for i in range(0, 4 + 4 * len(shape), 4)]
    expected = [magic, *shape]
    if header != expected or len(data) != 4 * len(expected) + math.prod(shape):
        raise ValueError(
            f"data_dir={folder}: {found[0].name} must have the header {expected} and {math.prod(shape)} bytes of data, "
            f"found {header} and {max(0, len(data) - 4 * len(expected))}"
        )
    return torch.frombuffer(bytearray(data[4 * len(expected) :]), dtype=torch.uint8).view(shape)


def _hub() -> Images:
    alternatives = "set env.data_dir to a folder with the four IDX files, or use env=digits, which needs no download"
    splits = fetch(HUB, alternatives)
    columns = [splits[split].with_format("torch")[:] for split in ("train", "test")]
    return _scaled(*(part[key] for part in columns for key in ("image", "label")))
