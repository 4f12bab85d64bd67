"""Rollouts: how candidates are laid out before an objective sees them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.base import Batch
from envs.base import Env
from models.base import Policy


@dataclass(frozen=True)
class Rollout:
    """What the policy is asked again in every epoch (`contexts`, `candidates`), and what the objective compares."""

    contexts: Tensor | None
    candidates: Tensor | None
    batch: Batch


def draws(env: Env, policy: Policy, noise) -> Rollout:
    """Sampled actions: each context's draws are one group, and together they weigh 1."""
    contexts, arms, reward = _draw(env, policy, noise)
    logp = policy.logp(contexts, arms).detach()
    one = torch.ones((), device=reward.device)
    baseline, weight = env.baseline * one, (one / arms.shape[-1]).expand(arms.shape)
    return Rollout(contexts, arms, Batch(logp, reward, baseline, one, reward.sum(-1), weight))


def all_actions(env: Env, policy: Policy, noise) -> Rollout:
    """All actions, each scored by the mean over the context's draws of (reward - baseline) 1[it was drawn]."""
    contexts, arms, reward = _draw(env, policy, noise)
    logp = policy.logp(contexts, None).detach()
    share = torch.full(arms.shape, 1 / arms.shape[-1], device=arms.device)
    zero = torch.zeros(logp.shape[:-1], device=arms.device)
    score = zero.scatter_add(-1, arms, (reward.squeeze(-1) - env.baseline) * share)
    one = torch.ones((), device=arms.device)
    batch = Batch(logp, score.unsqueeze(-1), 0 * one, one, score, zero.scatter_add(-1, arms, share))
    return Rollout(contexts, None, batch)


def exact(env: Env, policy: Policy, noise) -> Rollout:
    """All actions with their true rewards, weighted by the rollout policy: population gradients, no sampling."""
    contexts = env.contexts(noise)
    logp = policy.logp(contexts, None).detach()
    reward, one = env.true_reward(logp.device), torch.ones((), device=logp.device)
    batch = Batch(logp, reward.unsqueeze(-1), env.baseline * one, one, reward, logp.squeeze(-1).exp())
    return Rollout(contexts, None, batch)


def _draw(env: Env, policy: Policy, noise) -> tuple[Tensor | None, Tensor, Tensor]:
    contexts = env.contexts(noise)
    groups = env.spec.contexts if contexts is None else contexts.shape[1]
    uniforms = noise.uniform("action", groups * env.batch).view(-1, groups, env.batch)
    arms = policy.sample(contexts, uniforms)
    return contexts, arms, env.score(contexts, arms, noise)


SAMPLERS = {"draws": draws, "all_actions": all_actions, "exact": exact}
