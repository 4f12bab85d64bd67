"""Checks before any work that method, task, model and training fit together."""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import training
from algorithms.base import Objective
from conf.discover import discover
from conf.messages import ConfigError
from engines.trl_misfit import trl_misfit
from envs.base import Env
from training import distributed, warmstart

COMPARES = {"group": "a group of sampled candidates", "set": "a set of candidates"}


class MisfitError(ConfigError):
    """Algorithm and environment are fine, but not together."""


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
        raise MisfitError(
            f"model={_chosen_model(cfg)}: env={cfg.env.name} is made of {kind}; allowed: {', '.join(fit)}"
        )


def _chosen_model(cfg: DictConfig) -> str:
    """The file of conf/model that was typed, where it is known, or else the name of the model's class."""
    return HydraConfig.get().runtime.choices.model if HydraConfig.initialized() else cfg.model.name


def check_model(experiment, cfg: DictConfig) -> None:
    """Raise MisfitError for settings of model, optimiser and training that do not go together."""
    env, model, train = experiment.env, experiment.model, experiment.train
    is_text, accuracy = env.spec.is_text, warmstart.target_accuracy(experiment)
    if model.stacked != experiment.optim.stacked:
        fit = [name for name, cls in discover(training).items() if getattr(cls, "stacked", None) == model.stacked]
        raise MisfitError(f"optim={cfg.optim.name}: does not fit model={_chosen_model(cfg)}; allowed: {', '.join(fit)}")
    processes = distributed.started_processes()
    if processes > 1 and not is_text:
        typed = f"{processes} processes: env={cfg.env.name} trains in one process"
        raise MisfitError(f"{typed}; start it without torchrun, or use launch=joblib for a grid")
    if processes > 1:
        most = min(env.batch, train.eval_problems, len(env.problems(train.eval_split)))
        if processes > most:
            more = "env.batch, train.eval_problems or the number of held-out problems"
            raise MisfitError(
                f"{processes} processes: only {most} problems to share; start at most {most}, or raise {more}"
            )
    if train.eval_every is not None and not is_text:
        raise MisfitError(f"train.eval_every={train.eval_every}: env={cfg.env.name} has no held-out problems; use null")
    if is_text and cfg.match == "interactions":
        reason = f"every method draws the same number of completions on env={cfg.env.name}"
        raise MisfitError(f"match=interactions: {reason}; use match=prompts")
    if train.phase == "sft" and not accuracy:
        raise MisfitError(f"train.phase=sft: model={_chosen_model(cfg)} has no warm start; use train.phase=rl")
    if is_text and accuracy and not env.has_answers:
        reason = f"env={cfg.env.name} has training rows without an answer to learn from"
        raise MisfitError(f"model.warm_accuracy={accuracy}: {reason}; use model.warm_accuracy=0")
    if train.staleness and getattr(model, "engine", "hf") != "hf":
        raise MisfitError(
            f"train.staleness={train.staleness}: model.engine={model.engine} draws from the newest policy only; use "
            f"model.engine=hf"
        )


def check_training(experiment, cfg: DictConfig) -> None:
    """Raise MisfitError for settings of training that this method, this task or this engine cannot have."""
    train = experiment.train
    if experiment.engine == "trl" and (reason := trl_misfit(experiment)):
        raise MisfitError(f"engine=trl: {reason}")
    if train.micro_batch is not None and not experiment.env.spec.tokens_per_rollout:
        reason = f"env={cfg.env.name} has no prompts to split; use null"
        raise MisfitError(f"train.micro_batch={train.micro_batch}: {reason}")
