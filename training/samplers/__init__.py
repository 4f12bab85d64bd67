"""Samplers: functions (env, policy, noise) -> Rollout, which draw candidates and lay them out for an objective."""

from algorithms.base import Objective
from envs.base import Env
from training.samplers import actions, answers, completions

SAMPLERS = actions.SAMPLERS | answers.SAMPLERS | completions.SAMPLERS


def sampler_name(env: Env, objective: Objective, sampler: str) -> str:
    """The name in SAMPLERS of the sampler that this environment offers to this objective.

    sampler: the setting of that name, "auto" or "token_group".
    """
    offered = env.spec.token_samplers if sampler == "token_group" else env.spec.samplers
    return offered[objective.required_sampler]
