"""The settings that make two runs the same experiment."""

import hashlib
import json
from typing import Any

SECTIONS = ("algo", "env", "model", "optim", "train")
MOST_SEEDS = 100_000  # of a configuration
CHOICES = ("sampler", "match")  # how candidates are drawn
# how a run is shown or saved does not change what it computes
PRESENTATION = {
    "algo": ("label", "color", "linestyle"),
    "env": ("label",),
    "model": ("rollout_rows", "gradient_checkpointing", "vllm_memory", "vllm_window", "vllm_eager", "max_mismatch"),
    "train": ("checkpoint_every", "seed_block", "micro_batch", "phase"),
}
# settings of an environment with a content_hash, which stands for what these files contain
FILES = ("data", "validation_data", "test_data", "reward")
PUBLISHED = ("image_bandit", "gsm8k")  # tasks whose data are the same in every folder
# values that leave a run as it was before the setting existed; the run id leaves them out
NEUTRAL = {
    "algo": {"length_normalize": False},
    "env": {"working": False, "grader": "strict", "shots": 0, "stop": None},
    "model": {"rollout_dtype": None},
    "train": {
        "staleness": 0,
        "reference": "initial",
        "kl_beta": 0,
        "eval_every": None,
        "eval_problems": 256,
        "eval_samples": 1,
        "eval_split": "test",
    },
}


def paths(env: dict[str, Any]) -> tuple[str, ...]:
    """The settings of an environment that say where its data are."""
    if env.get("task") in PUBLISHED:
        return ("data_dir",)
    return ("data_dir", *FILES) if "content_hash" in env else ()


def canonical(config: dict[str, Any]) -> dict[str, Any]:
    """`config` with whole numbers as integers: one setting, written 0 or 0.0, reads the same everywhere."""
    return config | {s: {k: _number(v) for k, v in config[s].items()} for s in SECTIONS if s in config}


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a composed config that determines its numbers: no seeds, device, tracker, paths or labels."""
    config = canonical(config)
    sections = {s: {k: v for k, v in config[s].items() if _counts(s, k, v)} for s in SECTIONS}
    for key in paths(config["env"]):
        sections["env"].pop(key, None)
    return sections | {choice: config[choice] for choice in CHOICES}


def _counts(section: str, key: str, value: Any) -> bool:
    return key not in PRESENTATION.get(section, ()) and (key, value) not in NEUTRAL.get(section, {}).items()


def presentation(config: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """The settings of a config that say how a run is shown or saved."""
    config = canonical(config)
    return {(section, key): config[section].get(key) for section, keys in PRESENTATION.items() for key in keys}


def identity_without(config: dict[str, Any], *left_out: str) -> str:
    """The identity as JSON without some of its parts, such as "algo", and of its settings, such as "train.steps"."""
    found = identity(config)
    for name in left_out:
        part, _, key = name.rpartition(".")
        (found[part] if part else found).pop(key, None)
    return json.dumps(found, sort_keys=True)


def run_id(config: dict[str, Any]) -> str:
    """Twelve hex digits of the hash of a config's identity."""
    text = json.dumps(identity(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
