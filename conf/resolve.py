"""From a composed config to validated frozen dataclasses: the one place where user input is checked."""

import dataclasses
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import training
from algorithms.base import Objective, as_typed
from conf.discover import discover, find_classes, left_out
from conf.messages import FILES, ConfigError, unknown
from conf.own_files import PATHS, register
from engines.trl_misfit import trl_misfit
from envs.base import Env
from launch.kinds import LAUNCHES
from store.failure import describe
from store.identity import MOST_SEEDS
from store.runs import require_writable
from store.trackers import TRACKERS
from training import warmstart
from training.config import TrainConfig

SECTIONS = ("algo", "env", "model", "optim", "train", "tracker")
TOP_LEVEL = (*SECTIONS, "seeds", "sampler", "match", "scale", "engine", "device", "runs_dir", "force", "launch", *PATHS)
APPEARANCE = {
    "name": (r"\w+", "letters, digits and _"),
    "label": (r".+", "some text"),
    "color": (r"#[0-9a-fA-F]{6}", "a colour such as '#0072B2'"),
    "linestyle": (r"-|--|:|-\.", "one of '-', '--', ':', '-.'"),
}
TYPES = {float: "a number", int: "a whole number", bool: "true or false", str: "text", NoneType: "null"}
COMPARES = {"group": "a group of sampled candidates", "set": "a set of candidates"}


class MisfitError(ConfigError):
    """Algorithm and environment are fine, but not together."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One validated configuration; `config` is the same as plain data, for the store."""

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


def resolve(cfg: DictConfig) -> Experiment:
    """Validate everything before any work; raises ConfigError."""
    try:
        return _resolve(cfg)
    except (ConfigError, OmegaConfBaseException):
        raise
    except Exception as error:  # whatever the code of a class of the user's own raises
        raise ConfigError(describe(error)) from error


def _resolve(cfg: DictConfig) -> Experiment:
    for key, value in cfg.items():
        of_file = key == "scales" and OmegaConf.is_dict(value)
        if key not in TOP_LEVEL and not of_file and not (key in FILES and value is None):
            raise ConfigError(unknown(str(key), TOP_LEVEL))
    for key in TOP_LEVEL:
        if key not in PATHS and key not in cfg:
            raise ConfigError(f"{key}: missing; do not remove it, python run.py --cfg job shows its value")
    _choice("scale", cfg.scale, ("paper", "quick"))
    classes = {group: find_classes(group, cfg.get(f"{group}_path")) for group in ("algo", "env", "model")}
    objective = parse_section(cfg, "algo", classes["algo"], "objective", hidden=tuple(APPEARANCE))
    sampler = _choice("sampler", cfg.sampler, ("auto", "token_group"))
    match = _choice("match", cfg.match, ("prompts", "interactions"))
    parse_section(cfg, "launch", LAUNCHES)
    settings = {
        "objective": objective,
        "optim": parse_section(cfg, "optim", discover(training)),
        "train": _build(TrainConfig, cfg.train, "train"),
        "sampler": sampler,
        "engine": _choice("engine", cfg.engine, ("suite", "trl")),
        "tracker": parse_section(cfg, "tracker", TRACKERS),
        "seeds": _seeds(cfg.seeds),
        "device": _device(cfg.device),
        "runs_dir": _runs_dir(cfg.runs_dir),
        "force": _bool("force", cfg.force),
    }
    # after all that stands alone, since it may load data
    env = parse_section(cfg, "env", classes["env"], "task", hidden=("name", "label"))
    check_fit(objective, env, cfg.algo.name, cfg.env.name, sampler, match)
    check_context_type(env, cfg, classes["model"])
    experiment = Experiment(env=env, model=parse_section(cfg, "model", classes["model"]), config={}, **settings)
    check_model(experiment, cfg)
    if experiment.engine == "trl" and (reason := trl_misfit(experiment)):
        raise MisfitError(f"engine=trl: {reason}")
    if objective.needs_reference and experiment.train.reference == "none":
        typed = "train.reference=none"
        raise MisfitError(f"{typed}: algo={cfg.algo.name} needs a reference policy; use initial, or algo.beta=0")
    if experiment.train.micro_batch is not None and not env.spec.tokens_per_rollout:
        typed = f"train.micro_batch={experiment.train.micro_batch}"
        raise MisfitError(f"{typed}: env={cfg.env.name} has no prompts to split; use null")
    config = {"algo": {}, "env": {}, "model": {}, "optim": {}, "train": {}}
    for section in config:
        typed = dataclasses.asdict(getattr(experiment, "objective" if section == "algo" else section))
        config[section] = OmegaConf.to_container(cfg[section], resolve=True) | typed
    config |= {"sampler": sampler, "match": match, "compares": objective.sampler}
    config["gradient_epochs"] = experiment.train.epochs or env.spec.epochs or objective.epochs
    if match == "interactions" and objective.sampler == "single":
        experiment = match_interactions(experiment)
    return dataclasses.replace(experiment, config=config)


def compose_experiment(overrides: list[str]) -> Experiment:
    """The experiment of a command line; raises ConfigError, or what Hydra makes of overrides that it cannot apply."""
    register(overrides)
    with initialize_config_module("conf", version_base="1.3"):
        return resolve(compose("config", overrides))


def match_interactions(experiment: Experiment) -> Experiment:
    """Give a single-sample method as many rollouts as the groups have, and the larger step that the batch allows."""
    env, optimizer, k = experiment.env, experiment.optim, experiment.env.candidates
    env = dataclasses.replace(env, batch=env.batch * k)
    return dataclasses.replace(experiment, env=env, optim=dataclasses.replace(optimizer, lr=optimizer.lr * k**0.5))


def check_fit(objective: Objective, env: Env, algo: str, task: str, sampler: str, match: str) -> None:
    """Raise MisfitError unless `env` offers what `objective` compares."""
    spec = env.spec
    if match == "interactions" and not hasattr(env, "candidates"):
        raise MisfitError(f"match=interactions: env={task} has no groups of candidates per context; use match=prompts")
    if sampler == "token_group" and objective.required_sampler not in spec.token_samplers:
        reason = (
            "a terminal reward is known only for whole answers"
            if getattr(env, "reward", "") == "terminal"
            else f"env={task} with algo={algo} cannot compare next tokens"
        )
        raise MisfitError(f"sampler=token_group: {reason}; use sampler=auto")
    if objective.required_sampler not in spec.samplers:
        offers = ", ".join(sorted(spec.samplers))
        needs = f"algo={algo}: needs the sampler '{objective.required_sampler}'"
        raise MisfitError(f"{needs}; env={task} offers: {offers}; choose another algorithm or environment")
    size = spec.group_size_settings.get(objective.sampler)
    if size is not None and getattr(env, size) < 2:
        what = COMPARES[objective.sampler]
        raise MisfitError(f"env.{size}={getattr(env, size)}: must be >= 2, since algo={algo} compares {what}")


def check_context_type(env: Env, cfg: DictConfig, found: dict[str, type]) -> None:
    """Raise MisfitError for a model that cannot read the contexts of the task; `found` are all that there are."""
    kind = env.spec.context_type
    name = cfg.model.get("name")
    if name in found and found[name].context_type != kind:
        fit = [f"model={other}" for other, cls in found.items() if cls.context_type == kind and other != "hf"]
        fit += ["a model id of the hub", "a folder"] * (kind == "text")
        raise MisfitError(f"model={name}: env={cfg.env.name} is made of {kind}; allowed: {', '.join(fit)}")


def check_model(experiment: Experiment, cfg: DictConfig) -> None:
    """Raise MisfitError for settings of model, optimiser and training that do not go together."""
    env, model, train = experiment.env, experiment.model, experiment.train
    is_text = env.spec.context_type == "text"
    if model.stacked != experiment.optim.stacked:
        fit = [name for name, cls in discover(training).items() if getattr(cls, "stacked", None) == model.stacked]
        raise MisfitError(f"optim={cfg.optim.name}: does not fit model={cfg.model.name}; allowed: {', '.join(fit)}")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1 and not is_text:
        typed = f"{processes} processes: env={cfg.env.name} trains in one process"
        raise MisfitError(f"{typed}; start it without torchrun, or use launch=joblib for a grid")
    most = min(getattr(env, "batch", 1), train.eval_problems)
    if processes > most and is_text:
        raise MisfitError(
            f"{processes} processes: only {most} problems to share; start at most {most} processes, or raise env.batch "
            f"and train.eval_problems"
        )
    if train.eval_every is not None and not is_text:
        raise MisfitError(f"train.eval_every={train.eval_every}: env={cfg.env.name} has no held-out problems; use null")
    if is_text and cfg.match == "interactions":
        reason = f"every method draws the same number of completions on env={cfg.env.name}"
        raise MisfitError(f"match=interactions: {reason}; use match=prompts")
    if train.phase == "sft" and not warmstart.target_accuracy(experiment):
        raise MisfitError(f"train.phase=sft: model={cfg.model.name} has no warm start; use train.phase=rl")
    accuracy = warmstart.target_accuracy(experiment)
    if is_text and accuracy and not env.has_answers:
        reason = f"env={cfg.env.name} has training rows without an answer to learn from"
        raise MisfitError(f"model.warm_accuracy={accuracy}: {reason}; use model.warm_accuracy=0")
    if train.staleness and getattr(model, "engine", "hf") != "hf":
        raise MisfitError(
            f"train.staleness={train.staleness}: model.engine={model.engine} draws from the newest policy only; use "
            f"model.engine=hf"
        )


def parse_section(cfg: DictConfig, section: str, classes: dict[str, type], kind: str = "name", hidden=()) -> Any:
    """The dataclass that `cfg[section]` names, with its settings; raises ConfigError."""
    node = cfg[section]
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{section}={as_typed(node)}: must be one of the files of conf/{section}")
    for key in (kind, *hidden):
        if key not in node:
            raise ConfigError(f"{section}.{key}: missing; the yaml file must have it, as those of conf/{section} do")
    if node[kind] not in classes:
        why, own = left_out.get(node[kind]) or "; ".join(left_out.values()), cfg.get(f"{section}_path")
        what = f"no class of the suite or in {own} has this name" if own else "not found"
        raise ConfigError(unknown(f"{section}.{kind}={node[kind]}", classes, f"{what}{why and f', left out: {why}'}"))
    for key, (pattern, allowed) in APPEARANCE.items():
        if key in hidden and not (isinstance(node[key], str) and re.fullmatch(pattern, node[key])):
            raise ConfigError(f"{section}.{key}={as_typed(node[key])}: must be {allowed}")
    return _build(classes[node[kind]], node, section, (kind, *hidden))


def _build(cls: type, node: DictConfig, section: str, hidden: Iterable[str] = ()) -> Any:
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
    """`value` as OmegaConf converts it to a field of type `kind`."""
    try:
        schema = OmegaConf.structured(dataclasses.make_dataclass("Field", [("value", kind)]))
        found = OmegaConf.to_container(OmegaConf.merge(schema, {"value": value}))["value"]
        if isinstance(found, float) and not math.isfinite(found):
            raise ConfigError(f"{key}={value}: must be a finite number")
        return found
    except OmegaConfBaseException:
        parts = get_args(kind) if isinstance(kind, UnionType) else (kind,)
        allowed = " or ".join(TYPES.get(part) or getattr(part, "__name__", str(part)) for part in parts)
        raise ConfigError(f"{key}={as_typed(value)}: must be {allowed}") from None


def _choice(key: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ConfigError(unknown(f"{key}={as_typed(value)}", allowed, "unknown choice"))
    return value


def _seeds(value: Any) -> tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool):
        seeds = list(range(value)) if 1 <= value <= MOST_SEEDS else None
    else:
        seeds = list(value) if OmegaConf.is_list(value) else None
    if not seeds or not all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s < 2**31 for s in seeds):
        allowed = f"a number from 1 to {MOST_SEEDS}, or a list of whole numbers from 0 to {2**31 - 1} such as [3,7]"
        raise ConfigError(f"seeds={as_typed(value)}: must be {allowed}")
    if len(set(seeds)) < len(seeds):
        twice = sorted({s for s in seeds if seeds.count(s) > 1})
        raise ConfigError(f"seeds={value}: {twice[0]} is given twice; give each seed once")
    return tuple(seeds)


def _device(value: Any) -> torch.device:
    _choice("device", value, ("auto", "cpu", "cuda"))
    if value == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: this machine has no usable CUDA device; allowed here: auto, cpu")
    if value == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    # torchrun and accelerate launch give each process of a machine a GPU of its own
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if "LOCAL_RANK" in os.environ else torch.device("cuda")


def _runs_dir(value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"runs_dir={as_typed(value)}: must be the path of a folder")
    try:
        require_writable("runs_dir=", Path(value))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return Path(value)


def _bool(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{key}={as_typed(value)}: must be true or false")
    return value
