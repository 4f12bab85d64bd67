"""What a run is called, and what it stands for, from its config alone."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

ALGOS = Path(__file__).resolve().parent.parent / "conf" / "algo"
MATCHINGS = {"prompts": "prompt-matched", "interactions": "interaction-matched"}


def changed(config: dict[str, Any]) -> dict[str, Any]:
    """{override: value} of the settings in which a run differs from its algorithm's own yaml."""
    algo, file = config["algo"], ALGOS / f"{config['algo']['name']}.yaml"
    default = OmegaConf.to_container(OmegaConf.load(file)) if file.exists() else algo
    found = {f"algo.{key}": value for key, value in algo.items() if key in default and value != default[key]}
    epochs = config["train"]["epochs"]
    found |= {} if epochs is None else {"train.epochs": f"{epochs} epoch{'s' if epochs > 1 else ''}"}
    found |= {"sampler": "token"} if config["sampler"] == "token_group" else {}
    return found | ({"match": MATCHINGS["interactions"]} if config["match"] == "interactions" else {})


def label(config: dict[str, Any], hide: tuple[str, ...] = ()) -> str:
    """The algorithm's label with the settings that were changed, save those that the figure says elsewhere."""
    shown = {key: value for key, value in changed(config).items() if key not in hide}
    texts = [
        f"{key.removeprefix('algo.')}={value}" if key.startswith("algo.") else value for key, value in shown.items()
    ]
    return f"{config['algo']['label']} ({', '.join(texts)})" if texts else config["algo"]["label"]


def matchings(config: dict[str, Any]) -> tuple[str, ...]:
    """The matchings under which a run counts: both are one and the same for a method that draws groups."""
    return tuple(MATCHINGS) if config["compares"] in ("group", "set") else (config["match"],)
