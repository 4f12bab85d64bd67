"""Labels of runs, made from their configs alone."""

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from store.identity import CHOICES, NEUTRAL, PRESENTATION, SECTIONS, identity

ALGOS = Path(__file__).resolve().parent.parent / "conf" / "algo"
MATCHINGS = {"prompts": "prompt-matched", "interactions": "interaction-matched"}


def changed_settings(config: dict[str, Any]) -> dict[str, Any]:
    """{override: value} for the settings in which a run differs from its algorithm's yaml."""
    algo = config["algo"]
    default = algo_yaml(algo["name"]) or algo
    found = {
        f"algo.{key}": value
        for key, value in algo.items()
        if key in default and key not in PRESENTATION["algo"] and value != default[key]
    }
    epochs = config["train"]["epochs"]
    found |= {} if epochs is None else {"train.epochs": f"{epochs} epoch{'s' if epochs > 1 else ''}"}
    found |= {"sampler": "token"} if config["sampler"] == "token_group" else {}
    return found | ({"match": MATCHINGS["interactions"]} if config["match"] == "interactions" else {})


@cache
def algo_yaml(algo: str) -> dict[str, Any] | None:
    """The content of an algorithm's yaml; None for an algorithm outside the suite."""
    path = ALGOS / f"{algo}.yaml"
    return OmegaConf.to_container(OmegaConf.load(path)) if path.exists() else None


def is_ours(config: dict[str, Any]) -> bool:
    """Whether the algorithm is one of the suite itself."""
    return algo_yaml(config["algo"]["name"]) is not None


def label(config: dict[str, Any], hide: tuple[str, ...] = (), also: tuple[str, ...] = ()) -> str:
    """The algorithm's label, with the settings that were changed.

    hide  settings to leave out, because the figure shows them elsewhere
    also  settings to name even if they were not changed
    """
    shown = {key: value for key, value in changed_settings(config).items() if key not in hide}
    texts = [f"{_shown_key(key)}={value}" if key.startswith("algo.") else value for key, value in shown.items()]
    settings = _settings(config)
    texts += [f"{_shown_key(key)}={settings[key]}" for key in also if key in settings]
    return f"{config['algo']['label']} ({', '.join(texts)})" if texts else config["algo"]["label"]


def method_names(configs: list[dict[str, Any]], hide: tuple[str, ...]) -> list[str]:
    """The names of methods: their labels, with the settings in which methods of one label differ.

    A method of the suite itself keeps its label.
    """
    labels = [label(config, hide=hide) for config in configs]
    names = []
    for name, config in zip(labels, configs, strict=True):
        alike = [other for other, text in zip(configs, labels, strict=True) if text == name]
        differing = () if len(alike) == 1 or is_ours(config) else differing_settings(alike)
        names.append(label(config, hide, tuple(key for key in differing if key.startswith("algo."))))
    return names


def with_unique_labels(rows: list, hide: tuple[str, ...] = (), panels: list | None = None, mixed: bool = False) -> list:
    """The rows with unique labels: rows that share label and panel also name the settings in which they differ.

    panels  for each row, the panels that show it; None: one panel shows all rows
    mixed   whether rows may be of different tasks and lengths; they then name where they differ from most of the rows
    """
    places = [{"one"} if panels is None else set(panels[i]) for i in range(len(rows))]
    rare = _rare_settings([row.config for row in rows]) if mixed else [()] * len(rows)
    names = [label(row.config, hide, rare[i]) for i, row in enumerate(rows)]

    def rivals(i: int) -> list[dict[str, Any]]:
        return [rows[j].config for j in range(len(rows)) if names[j] == names[i] and places[i] & places[j]]

    also = [tuple(dict.fromkeys((*rare[i], *differing_settings(rivals(i))))) for i in range(len(rows))]
    found = [label(row.config, hide, keys) for row, keys in zip(rows, also, strict=True)]
    # a row that keeps its label keeps the metrics that it has read
    return [row if row.label == name else replace(row, label=name) for row, name in zip(rows, found, strict=True)]


def usual_settings(configs: list[dict[str, Any]]) -> dict[str, str]:
    """{key: the most frequent value} for the settings of task, training and optimiser in which configs differ."""
    settings = [_with_neutral(config) for config in configs]
    keys = dict.fromkeys(key for one in settings for key in one if key.startswith(("env.", "train.", "optim.")))
    keys.pop("train.epochs", None)  # which every label has
    counts = {key: Counter(str(one.get(key)) for one in settings) for key in keys}
    return {key: count.most_common(1)[0][0] for key, count in counts.items() if len(count) > 1}


def _rare_settings(configs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """For each config, the settings of task, training and optimiser in which it is not like most of the configs."""
    settings, usual = [_with_neutral(config) for config in configs], usual_settings(configs)
    return [tuple(key for key in usual if key in one and str(one[key]) != usual[key]) for one in settings]


def differing_settings(configs: list[dict[str, Any]]) -> tuple[str, ...]:
    """The settings in which configs differ, as overrides name them.

    Different algorithms count as a difference in name; their other settings are compared within each algorithm. The
    same holds for different models and different optimisers.
    """
    settings = [_settings(identity(config)) for config in configs]
    keys = dict.fromkeys(key for setting in settings for key in setting)
    found = tuple(key for key in keys if any(setting.get(key) != settings[0].get(key) for setting in settings))
    for section in ("algo", "model", "optim"):
        if f"{section}.name" not in found:
            continue
        names = dict.fromkeys(config[section]["name"] for config in configs)
        alike = [differing_settings([c for c in configs if c[section]["name"] == name]) for name in names]
        others = () if section == "algo" else (key for key in found if not key.startswith(f"{section}."))
        return tuple(dict.fromkeys((f"{section}.name", *others, *(key for keys in alike for key in keys))))
    return found


def _shown_key(key: str) -> str:
    """A setting's key in a label: "model" for model.name, and "eta" for algo.eta."""
    return key.removesuffix(".name").removeprefix("algo.")


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    found = {f"{section}.{key}": value for section in SECTIONS for key, value in config[section].items()}
    return found | {choice: config[choice] for choice in CHOICES}


def _with_neutral(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that count, also where they have the value with which the run id leaves them out."""
    neutral = {f"{part}.{key}": value for part, values in NEUTRAL.items() for key, value in values.items()}
    stored = _settings(config)
    return _settings(identity(config)) | {key: stored.get(key, value) for key, value in neutral.items()}


def matchings(config: dict[str, Any]) -> tuple[str, ...]:
    """The matchings under which a run counts. For a method that draws groups, both are the same run.

    What a method compares is known of runs alone. A run that does not exist is listed under both.
    """
    return tuple(MATCHINGS) if config["compares"] in ("group", "set", None) else (config["match"],)
