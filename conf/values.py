"""Reads single values of a command line as what they should be; raises ConfigError, which names what is allowed."""

import dataclasses
import math
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from algorithms.base import as_typed
from conf.discover import why_left_out
from conf.messages import ConfigError, unknown
from store.identity import MOST_SEEDS
from store.runs import require_writable

APPEARANCE = {
    "name": (r"\w+", "letters, digits and _"),
    "label": (r"[^$]+", "some text without $"),  # which begins a formula in a figure
    "color": (r"#[0-9a-fA-F]{6}", "a colour such as '#0072B2'"),
    "linestyle": (r"-|--|:|-\.", "one of '-', '--', ':', '-.'"),
}
TYPES = {float: "a number", int: "a whole number", bool: "true or false", str: "text", NoneType: "null"}


def parse_section(cfg: DictConfig, section: str, classes: dict[str, type], kind: str = "name", hidden=()) -> Any:
    """The dataclass that `cfg[section]` names, with its settings; raises ConfigError."""
    node = cfg[section]
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{section}={as_typed(node)}: must be one of the files of conf/{section}")
    for key in (kind, *hidden):
        if key not in node:
            raise ConfigError(f"{section}.{key}: missing; the yaml file must have it, as those of conf/{section} do")
    if node[kind] not in classes:
        own, why = cfg.get(f"{section}_path"), why_left_out(node[kind])
        what = f"no class of the suite or in {own} has this name" if own else "not found"
        raise ConfigError(unknown(f"{section}.{kind}={node[kind]}", classes, f"{what}{why and f', left out: {why}'}"))
    for key, (pattern, allowed) in APPEARANCE.items():
        if key in hidden and not (isinstance(node[key], str) and re.fullmatch(pattern, node[key])):
            raise ConfigError(f"{section}.{key}={as_typed(node[key])}: must be {allowed}")
    return build_section(classes[node[kind]], node, section, (kind, *hidden))


def build_section(cls: type, node: DictConfig, section: str, hidden: Iterable[str] = ()) -> Any:
    """An object of `cls` with the settings of a section but `hidden` ones; raises ConfigError."""
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{section}={as_typed(node)}: must be settings, one `key: value` a line")
    types = get_type_hints(cls)
    fields = {field.name: types[field.name] for field in dataclasses.fields(cls)}
    values = {key: node[key] for key in node if key not in hidden}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(unknown(f"{section}.{key}", fields))
        values[key] = _typed(f"{section}.{key}", value, fields[key])
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{section}.{error}") from None


def _typed(key: str, value: Any, kind: Any) -> Any:
    """`value` as OmegaConf converts it to a field of type `kind`. A whole number may be written as 1e4."""
    if get_origin(kind) is Literal:
        return choice(key, value, get_args(kind))
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if isinstance(value, float) and value.is_integer() and int in parts and float not in parts:
        value = int(value)
    try:
        schema = OmegaConf.structured(dataclasses.make_dataclass("Field", [("value", kind)]))
        found = OmegaConf.to_container(OmegaConf.merge(schema, {"value": value}))["value"]
        if isinstance(found, float) and not math.isfinite(found):
            raise ConfigError(f"{key}={value}: must be a finite number")
        return found
    except OmegaConfBaseException:
        allowed = " or ".join(TYPES.get(part) or getattr(part, "__name__", str(part)) for part in parts)
        raise ConfigError(f"{key}={as_typed(value)}: must be {allowed}") from None


def choice(key: str, value: Any, allowed: tuple[str, ...]) -> str:
    """`value`, which must be one of `allowed`."""
    if value not in allowed:
        raise ConfigError(unknown(f"{key}={as_typed(value)}", allowed, "unknown choice"))
    return value


def seeds_of(value: Any) -> tuple[int, ...]:
    """The seeds of a number of seeds, or of a list of them."""
    if type(value) is int:
        seeds = list(range(value)) if 1 <= value <= MOST_SEEDS else None
    else:
        seeds = list(value) if OmegaConf.is_list(value) else None
    if not seeds or not all(type(s) is int and 0 <= s < 2**31 for s in seeds):
        allowed = f"a number from 1 to {MOST_SEEDS}, or a list of whole numbers from 0 to {2**31 - 1} such as [3,7]"
        raise ConfigError(f"seeds={as_typed(value)}: must be {allowed}")
    twice = [seed for seed, count in Counter(seeds).items() if count > 1]
    if twice:
        raise ConfigError(f"seeds={value}: {min(twice)} is given twice; give each seed once")
    return tuple(seeds)


def device_of(value: Any) -> torch.device:
    """The device of auto, cpu or cuda; of several processes each has a GPU of its own."""
    choice("device", value, ("auto", "cpu", "cuda"))
    if value == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: this machine has no usable CUDA device; allowed here: auto, cpu")
    if value == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    # torchrun and accelerate launch give each process of a machine a GPU of its own
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if "LOCAL_RANK" in os.environ else torch.device("cuda")


def runs_dir_of(value: Any) -> Path:
    """The folder of runs, made if it is missing; ~ is the user's home."""
    if type(value) not in (str, int) or value == "":
        raise ConfigError(f"runs_dir={as_typed(value)}: must be the path of a folder")
    folder = Path(str(value)).expanduser()  # such as 2026
    try:
        require_writable("runs_dir=", folder)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return folder


def boolean(key: str, value: Any) -> bool:
    """`value`, which must be true or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{key}={as_typed(value)}: must be true or false")
    return value
