"""From a composed config to validated frozen dataclasses; conf/values.py and conf/fit.py have the single checks."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import training
from algorithms.base import Objective, as_typed
from conf.compose import composed
from conf.discover import GROUPS, discover, find_classes
from conf.fit import check_context_type, check_fit, check_model, check_training
from conf.messages import FILES, ConfigError, unknown
from conf.own_files import PATHS, register
from conf.values import APPEARANCE, boolean, build_section, choice, device_of, parse_section, runs_dir_of, seeds_of
from envs.base import Env
from launch.kinds import LAUNCHES
from store.failure import describe
from store.identity import CHOICES, SECTIONS
from store.trackers import TRACKERS
from training.config import TrainConfig

LONGEST = 80  # characters of the settings in a label
TOP_LEVEL = (*SECTIONS, "tracker", "seeds", *CHOICES, "scale", "engine", "device", "runs_dir", "force", "launch")
TOP_LEVEL += PATHS


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One validated configuration; `config` is what was asked for as plain data, for the store."""

    objective: Objective
    env: Env
    model: Any
    optim: Any
    train: TrainConfig
    sampler: str
    engine: str
    tracker: Any
    seeds: tuple[int, ...]
    device: torch.device
    runs_dir: Path
    force: bool
    config: dict[str, Any]
    sweep: str | None = None  # the sweep file that it belongs to
    difference: str = ""  # the settings in which it differs from the other jobs of its grid

    @property
    def label(self) -> str:
        """Method and task, and what tells it from the other jobs of a grid, as progress and messages name it."""
        return job_label(self.config["algo"]["label"], self.config["env"]["name"], self.difference)


def job_label(algo: str, env: str, difference: str) -> str:
    return f"{algo} on {env} ({difference})" if difference else f"{algo} on {env}"


def settings_of(cfg: DictConfig, keys: Iterable[str]) -> str:
    """The values that some keys have in a job, as text for its label; long ones are cut."""
    found = {key: OmegaConf.select(cfg, key, default=None) for key in keys}
    values = {key: value.get("name") if isinstance(value, DictConfig) else value for key, value in found.items()}
    text = ", ".join(f"{key}={as_typed(value)}" for key, value in values.items())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def resolve(cfg: DictConfig) -> Experiment:
    """Validate everything before any work; raises ConfigError."""
    try:
        return _resolve(cfg)
    except (ConfigError, OmegaConfBaseException):
        raise
    except Exception as error:  # whatever the code of a class of the user's own raises
        raise ConfigError(describe(error)) from error


def _resolve(cfg: DictConfig) -> Experiment:
    _check_keys(cfg)
    classes = {group: find_classes(group, cfg.get(f"{group}_path")) for group in GROUPS}
    objective = parse_section(cfg, "algo", classes["algo"], "objective", hidden=tuple(APPEARANCE))
    match = choice("match", cfg.match, ("prompts", "interactions"))
    settings = _settings(cfg)
    # after all that stands alone, since it may load data
    env = parse_section(cfg, "env", classes["env"], "task", hidden=("name", "label"))
    check_fit(objective, env, cfg.algo.name, cfg.env.name, settings["sampler"], match)
    check_context_type(env, cfg, classes["model"])
    model = parse_section(cfg, "model", classes["model"])
    experiment = Experiment(objective=objective, env=env, model=model, config={}, **settings)
    check_model(experiment, cfg)
    check_training(experiment, cfg)
    config = _stored_config(experiment, cfg)
    if match == "interactions" and objective.sampler == "single":
        experiment = match_interactions(experiment)
    return dataclasses.replace(experiment, config=config)


def _check_keys(cfg: DictConfig) -> None:
    for key, value in cfg.items():
        of_file = key == "scales" and OmegaConf.is_dict(value)
        if key not in TOP_LEVEL and not of_file and not (key in FILES and value is None):
            raise ConfigError(unknown(str(key), TOP_LEVEL))
    for key in TOP_LEVEL:
        if key not in PATHS and key not in cfg:
            raise ConfigError(f"{key}: missing; do not remove it, python run.py --cfg job shows its value")


def _settings(cfg: DictConfig) -> dict[str, Any]:
    """The fields of `Experiment` that depend on neither method, task nor model."""
    choice("scale", cfg.scale, ("paper", "quick"))
    parse_section(cfg, "launch", LAUNCHES)
    return {
        "optim": parse_section(cfg, "optim", discover(training)),
        "train": build_section(TrainConfig, cfg.train, "train"),
        "sampler": choice("sampler", cfg.sampler, ("auto", "token_group")),
        "engine": choice("engine", cfg.engine, ("suite", "trl")),
        "tracker": parse_section(cfg, "tracker", TRACKERS),
        "seeds": seeds_of(cfg.seeds),
        "device": device_of(cfg.device),
        "runs_dir": runs_dir_of(cfg.runs_dir),
        "force": boolean("force", cfg.force),
    }


def _stored_config(experiment: Experiment, cfg: DictConfig) -> dict[str, Any]:
    """The configuration as plain data, with the facts about it that tables and figures read."""
    objective = experiment.objective
    config: dict[str, Any] = {}
    for section in SECTIONS:
        typed = dataclasses.asdict(getattr(experiment, "objective" if section == "algo" else section))
        config[section] = OmegaConf.to_container(cfg[section], resolve=True) | typed
    config |= {"sampler": experiment.sampler, "match": cfg.match, "compares": objective.sampler}
    config["gradient_epochs"] = experiment.train.epochs or experiment.env.spec.epochs or objective.epochs
    return config


def compose_experiment(overrides: list[str]) -> Experiment:
    """The experiment of a command line; raises ConfigError, or what Hydra makes of overrides that it cannot apply."""
    register(overrides)
    return resolve(composed(overrides))


def match_interactions(experiment: Experiment) -> Experiment:
    """Give a single-sample method as many rollouts as the groups have, and the larger step that the batch allows."""
    env, optimizer, k = experiment.env, experiment.optim, experiment.env.candidates
    env = dataclasses.replace(env, batch=env.batch * k)
    return dataclasses.replace(experiment, env=env, optim=dataclasses.replace(optimizer, lr=optimizer.lr * k**0.5))
