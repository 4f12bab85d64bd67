"""Rollouts: how candidates are laid out before an objective sees them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from algorithms.base import Batch
from envs.base import Env
from models.base import Policy, draw


@dataclass(frozen=True)
class Rollout:
    """What an objective compares, and how to ask a policy again, in every epoch, for its log-probs (*L,B,K,T).

    `metrics` {name: (S,)} are those of the drawn candidates themselves.
    """

    batch: Batch
    logp: Callable[[Policy], Tensor]
    metrics: dict[str, Tensor] = field(default_factory=dict)


def draws(env: Env, policy: Policy, noise) -> Rollout:
    """Sampled actions: each context's draws are one group, and together they weigh 1."""
    contexts, arms, reward = _draw(env, policy, noise)
    logp = policy.logp(contexts, arms).detach()
    one = torch.ones((), device=reward.device)
    baseline, weight = env.baseline * one, (one / arms.shape[-1]).expand(arms.shape)
    batch = Batch(logp, reward, baseline, one, reward.sum(-1), weight)
    return Rollout(batch, lambda policy: policy.logp(contexts, arms))


def all_actions(env: Env, policy: Policy, noise) -> Rollout:
    """All actions, each scored by the mean over the context's draws of (reward - baseline) 1[it was drawn]."""
    contexts, arms, reward = _draw(env, policy, noise)
    logp = policy.logp(contexts, None).detach()
    share = torch.full(arms.shape, 1 / arms.shape[-1], device=arms.device)
    zero = torch.zeros(logp.shape[:-1], device=arms.device)
    score = zero.scatter_add(-1, arms, (reward.squeeze(-1) - env.baseline) * share)
    one = torch.ones((), device=arms.device)
    batch = Batch(logp, score.unsqueeze(-1), 0 * one, one, score, zero.scatter_add(-1, arms, share))
    return Rollout(batch, lambda policy: policy.logp(contexts, None))


def exact(env: Env, policy: Policy, noise) -> Rollout:
    """All actions with their true rewards, weighted by the rollout policy: population gradients, no sampling."""
    contexts = env.contexts(noise)
    logp = policy.logp(contexts, None).detach()
    reward, one = env.true_reward(logp.device), torch.ones((), device=logp.device)
    batch = Batch(logp, reward.unsqueeze(-1), env.baseline * one, one, reward, logp.squeeze(-1).exp())
    return Rollout(batch, lambda policy: policy.logp(contexts, None))


def _draw(env: Env, policy: Policy, noise) -> tuple[Tensor | None, Tensor, Tensor]:
    contexts = env.contexts(noise)
    groups = env.spec.contexts if contexts is None else contexts.shape[1]
    uniforms = noise.uniform("action", groups * env.batch).view(-1, groups, env.batch)
    arms = policy.sample(contexts, uniforms)
    return contexts, arms, env.score(contexts, arms, noise)


def single_rollout(env: Env, policy: Policy, noise) -> Rollout:
    """One answer per prompt."""
    return _rollouts(env, policy, noise, 1)


def group_rollouts(env: Env, policy: Policy, noise) -> Rollout:
    """A group of whole answers per prompt."""
    return _rollouts(env, policy, noise, env.candidates)


def _rollouts(env: Env, policy: Policy, noise, k: int) -> Rollout:
    prompts = env.contexts(noise)
    uniforms = noise.uniform("action", env.batch * k * env.horizon).view(-1, env.batch, k, env.horizon)
    answers, table = policy.generate(prompts, uniforms)
    logp_old = table.gather(-1, answers.unsqueeze(-1)).squeeze(-1)
    return answers_rollout(prompts, answers, logp_old, env.score(prompts, answers, noise))


def answers_rollout(prompts: Tensor, answers: Tensor, logp_old: Tensor, reward: Tensor) -> Rollout:
    """Whole answers (S,B,K,H) with their rewards; the baseline is the batch mean at the same position."""
    score, one = reward.mean(-1), torch.ones((), device=reward.device)
    batch = Batch(logp_old, reward, reward.mean((1, 2), keepdim=True), one, score, one.expand(score.shape))
    return Rollout(batch, lambda policy: policy.logp(prompts, answers), {"error": 1 - score.mean((1, 2))})


def token_group(env: Env, policy: Policy, noise) -> Rollout:
    """A group of next tokens at each state of one behaviour answer, which is made of the first of them."""
    prompts, k = env.contexts(noise), env.candidates
    uniforms = noise.uniform("action", env.batch * env.horizon * k).view(-1, env.batch, env.horizon, k)
    _, table = policy.generate(prompts, uniforms[..., 0].unsqueeze(2))
    table = table.squeeze(2)
    tokens = draw(table.unsqueeze(3).expand(-1, -1, -1, k, -1), uniforms)
    return token_groups(prompts, tokens, table.gather(-1, tokens), env.score_tokens(prompts, tokens))


def token_groups(prompts: Tensor, tokens: Tensor, logp_old: Tensor, reward: Tensor) -> Rollout:
    """States as contexts: next tokens (S,B,H,K), the first of which make the behaviour, with their rewards."""

    def logp(policy: Policy) -> Tensor:
        table = policy.table(prompts, tokens[..., 0].unsqueeze(2)).squeeze(2)
        return table.gather(-1, tokens).flatten(1, 2).unsqueeze(-1)

    score, one = reward.flatten(1, 2), torch.ones((), device=reward.device)
    old = logp_old.flatten(1, 2).unsqueeze(-1)
    batch = Batch(old, score.unsqueeze(-1), 0 * one, one, score, one.expand(score.shape))
    return Rollout(batch, logp, {"error": 1 - reward[..., 0].mean((1, 2))})


SAMPLERS = {
    "draws": draws,
    "all_actions": all_actions,
    "exact": exact,
    "single_rollout": single_rollout,
    "group_rollouts": group_rollouts,
    "token_group": token_group,
}
