"""The suite's objectives inside verl 0.9: exact for any micro-batch and any number of processes.

VERL_USE_EXTERNAL_MODULES=engines.verl python -m verl.trainer.main_ppo algorithm.adv_estimator=suite.tpo ...

verl imports this module in each of its processes. It adds an advantage estimator suite.NAME for every objective that
learns from groups, and the policy loss token_weights.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import verl.utils.config
from omegaconf import OmegaConf
from torch import Tensor
from verl.trainer.ppo import ray_trainer
from verl.trainer.ppo.core_algos import agg_loss, register_policy_loss

import conf
from algorithms.base import Objective, as_typed
from conf.discover import find_classes
from conf.values import APPEARANCE, parse_section
from engines.weights import require_group_objective, token_weights

PREFIX, LOSS = "suite.", "token_weights"
_own: dict[str, Objective] = {}


def register(name: str, objective: Objective) -> None:
    """Let algorithm.adv_estimator=suite.NAME stand for an objective, with settings or of your own.

    verl must import the module that calls it too: VERL_USE_EXTERNAL_MODULES=engines.verl,my_module.
    """
    require_group_objective(objective)
    _own[name] = objective


def objective_of(estimator: str) -> Objective:
    """The objective that suite.NAME stands for: a registered one, or that of conf/algo; raises ValueError."""
    name = estimator.removeprefix(PREFIX)
    if name in _own:
        return _own[name]
    file = Path(conf.__file__).parent / "algo" / f"{name}.yaml"
    if not file.exists():
        known = sorted({*_own, *(path.stem for path in file.parent.glob("*.yaml"))})
        raise ValueError(f"algorithm.adv_estimator={estimator}: must be {PREFIX} and one of {', '.join(known)}")
    cfg = OmegaConf.create({"algo": OmegaConf.load(file)})
    objective = parse_section(cfg, "algo", find_classes("algo", None), "objective", hidden=tuple(APPEARANCE))
    require_group_objective(objective)
    return objective


@register_policy_loss(LOSS)
def weighted_logp(
    old_log_prob: Tensor,
    log_prob: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    loss_agg_mode: str = "token-sum",
    config: Any = None,
    rollout_is_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Any]]:
    """Sum of -advantage * log-prob over the tokens of a micro-batch; `set_advantages` computed the advantages."""
    return agg_loss(-advantages * log_prob, response_mask, loss_agg_mode, **config.global_batch_info), {}


def set_advantages(data: Any, objective: Objective) -> Any:
    """Set the "advantages" of a rollout to minus the gradient of the objective on the log-prob of each token.

    data  verl's DataProto of the whole rollout: the uid of each prompt, old_log_probs, token_level_rewards,
          response_mask, and ref_log_prob for an objective that reads a reference policy

    Raises ValueError for groups of different sizes.
    """
    _, groups, counts = np.unique(data.non_tensor_batch["uid"], return_inverse=True, return_counts=True)
    if len(set(counts.tolist())) > 1:
        raise ValueError(f"prompts have {counts.min()} to {counts.max()} answers: each prompt must have as many")
    order = torch.from_numpy(groups.argsort(kind="stable"))
    batch = data.batch
    old, mask, reward = (batch[key][order] for key in ("old_log_probs", "response_mask", "token_level_rewards"))
    ref = batch["ref_log_prob"][order] if objective.needs_reference else None
    score = (reward * mask).sum(-1)
    # verl takes the policy that computed old_log_probs as the one that learns from them
    weights, _ = token_weights(objective, old, old, score, mask.to(old.dtype), int(counts[0]), ref)
    batch["advantages"] = -weights[order.argsort()]
    batch["returns"] = batch["advantages"]
    return data


def require_exact(config: Any) -> None:
    """Raise ValueError for a configuration of verl in which an objective of the suite would not be exact."""
    estimator = str(config.algorithm.adv_estimator)
    if not estimator.startswith(PREFIX):
        return
    objective, actor = objective_of(estimator), config.actor_rollout_ref.actor
    reads = bool(objective.needs_reference)
    wanted = {
        "policy_loss.loss_mode": LOSS,
        "loss_agg_mode": "token-sum",
        "ppo_epochs": 1,
        "ppo_mini_batch_size": config.data.train_batch_size,
        "entropy_coeff": 0,
        "use_kl_loss": reads,  # verl has a reference policy only with it
        **({"kl_loss_coef": 0} if reads else {}),
    }
    for key, value in wanted.items():
        found = OmegaConf.select(actor, key)
        if found != value:
            raise ValueError(f"actor_rollout_ref.actor.{key}={found}: must be {value} for adv_estimator={estimator}")
    for key, value in {"rollout_is": None, "bypass_mode": False}.items():  # the latter replaces the loss
        found = OmegaConf.select(config, f"algorithm.rollout_correction.{key}")
        if found not in (None, value):
            raise ValueError(
                f"algorithm.rollout_correction.{key}={as_typed(found)}: must be {as_typed(value)} for {estimator}"
            )


def _extend(module: Any, name: str, before: Callable[..., Any]) -> None:
    """Let `before` be called first; what it returns, if anything, is the result."""
    original = getattr(module, name)

    @functools.wraps(original)
    def extended(*args, **kwargs):
        found = before(*args, **kwargs)
        return original(*args, **kwargs) if found is None else found

    setattr(module, name, extended)


def _compute_advantage(data: Any, adv_estimator: Any, *args: Any, **kwargs: Any) -> Any:
    estimator = str(getattr(adv_estimator, "value", adv_estimator))
    return set_advantages(data, objective_of(estimator)) if estimator.startswith(PREFIX) else None


# verl hands its registered estimators no log-probs, so the function that calls them is extended
_extend(ray_trainer, "compute_advantage", _compute_advantage)
_extend(verl.utils.config, "validate_config", lambda config, *args, **kwargs: require_exact(config))
