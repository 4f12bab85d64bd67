"""Samplers of tasks with one action per context: S seeds, C contexts, A actions, n draws per context."""

from dataclasses import replace

import torch
from torch import Tensor

from algorithms.base import Batch, batch_mean
from envs.base import Env
from models.base import Policy
from training import checks
from training.rollout import Rollout


def sampled_actions(env: Env, policy: Policy, noise) -> Rollout:
    """Sampled actions, laid out by `sampled_batch`."""
    contexts, actions, reward = _sample(env, policy, noise)
    batch = sampled_batch(policy.logp(contexts, actions).detach(), reward, _baseline(env, policy, contexts))
    return Rollout(batch, lambda policy: _one_group(policy.logp(contexts, actions)))


def sampled_actions_with_greedy_baseline(env: Env, policy: Policy, noise) -> Rollout:
    """Sampled actions; the baseline of each is the reward of the likeliest action in its context."""
    contexts, actions, reward = _sample(env, policy, noise, also_greedy=True)
    batch = sampled_batch(policy.logp(contexts, actions).detach(), reward[:, :, :-1], reward[:, :, -1])
    return Rollout(batch, lambda policy: _one_group(policy.logp(contexts, actions)))


def sampled_batch(logp: Tensor, reward: Tensor, baseline: Tensor) -> Batch:
    """Draws (S,C,n,1) as one group of all contexts, whose weights sum to 1; baselines (S,C,1), or () for one number."""
    baseline, one = baseline.unsqueeze(-1).expand(reward.shape), torch.ones((), device=reward.device)
    score = _one_group(reward).squeeze(-1)
    weight = (one / score.shape[-1]).expand(score.shape)
    return Batch(_one_group(logp), _one_group(reward), _one_group(baseline), one, score, weight)


def _one_group(x: Tensor) -> Tensor:
    """(S,C,n,1) -> (S,1,C*n,1)."""
    return x.flatten(1, 2).unsqueeze(1)


def enumerated_actions(env: Env, policy: Policy, noise) -> Rollout:
    """All actions of each context, scored by the draws as in `enumerated_batch`."""
    contexts, actions, reward = _sample(env, policy, noise)
    logp = policy.logp(contexts, None).detach()
    batch = enumerated_batch(logp, actions, reward, _baseline(env, policy, contexts))
    return Rollout(batch, lambda policy: policy.logp(contexts, None))


def enumerated_batch(logp: Tensor, actions: Tensor, reward: Tensor, baseline: Tensor) -> Batch:
    """All actions (S,C,A,1). Each score is the mean over the draws (S,C,n) of (reward - baseline) 1[action drawn]."""
    share = torch.full(actions.shape, 1 / actions.shape[-1], device=actions.device)
    zero, one = torch.zeros_like(logp).squeeze(-1), torch.ones((), device=actions.device)
    advantage = reward.squeeze(-1) - baseline
    score, weight = (zero.scatter_add(-1, actions, x.to(zero.dtype)) for x in (advantage * share, share))
    return Batch(logp, score.unsqueeze(-1), 0 * one, one, score, weight)


def exact_expectation(env: Env, policy: Policy, noise) -> Rollout:
    """All actions with their true rewards, weighted by the probabilities of the rollout policy; no action is drawn."""
    contexts = checks.checked_contexts(env, noise)
    logp = policy.logp(contexts, None).detach()
    reward, one = env.true_reward(contexts, logp.device), torch.ones((), device=logp.device)
    baseline = _baseline(env, policy, contexts).unsqueeze(-1)
    batch = Batch(logp, reward.unsqueeze(-1), baseline, one, reward, logp.squeeze(-1).exp())
    return Rollout(batch, lambda policy: policy.logp(contexts, None))


def exact_expectation_with_greedy_baseline(env: Env, policy: Policy, noise) -> Rollout:
    """As `exact_expectation`; the baseline is the reward of the likeliest action in each context."""
    rollout = exact_expectation(env, policy, noise)
    greedy = rollout.batch.logp_old.argmax(2, keepdim=True)
    reward = rollout.batch.reward.expand_as(rollout.batch.logp_old)
    return replace(rollout, batch=replace(rollout.batch, baseline=reward.gather(2, greedy)))


def single_actions(env: Env, policy: Policy, noise) -> Rollout:
    """One action in each drawn context; the baseline is the mean reward of the batch."""
    return _action_groups(env, policy, noise, 1)


def single_actions_with_greedy_baseline(env: Env, policy: Policy, noise) -> Rollout:
    """One action in each drawn context; the baseline is the reward of the likeliest action there."""
    rollout, contexts = single_actions(env, policy, noise), env.contexts(noise)
    baseline = checks.checked_score(env, contexts, _likeliest(policy, contexts, noise), noise)
    return replace(rollout, batch=replace(rollout.batch, baseline=baseline))


def action_groups(env: Env, policy: Policy, noise) -> Rollout:
    """A group of `env.candidates` actions in each drawn context."""
    return _action_groups(env, policy, noise, env.candidates)


def _action_groups(env: Env, policy: Policy, noise, k: int) -> Rollout:
    contexts = checks.checked_contexts(env, noise)
    uniforms = noise.uniform("action", contexts.shape[1] * k).view(-1, contexts.shape[1], k)
    actions = policy.sample(contexts, uniforms)
    reward, one = checks.checked_score(env, contexts, actions, noise), torch.ones((), device=actions.device)
    score, logp_old = reward.squeeze(-1), policy.logp(contexts, actions).detach()
    batch = Batch(logp_old, reward, batch_mean(reward), one, score, (one / k).expand(score.shape))
    return Rollout(batch, lambda policy: policy.logp(contexts, actions))


def _sample(env: Env, policy: Policy, noise, also_greedy: bool = False) -> tuple[Tensor | None, Tensor, Tensor]:
    """Contexts, drawn actions (S,C,n) and their rewards (S,C,n,1).

    A task that draws its contexts gets one action in each; a task that lists them gets `env.batch` actions in each.
    `also_greedy`: the rewards (S,C,n+1,1) end with that of the likeliest action.
    """
    contexts = checks.checked_contexts(env, noise)
    count, n = (env.spec.contexts, env.batch) if contexts is None else (contexts.shape[1], 1)
    uniforms = noise.uniform("action", count * n).view(-1, count, n)
    actions = policy.sample(contexts, uniforms)
    scored = torch.cat([actions, _likeliest(policy, contexts, noise)], dim=-1) if also_greedy else actions
    return contexts, actions, checks.checked_score(env, contexts, scored, noise)


def _likeliest(policy: Policy, contexts: Tensor | None, noise) -> Tensor:
    """The likeliest action (S,C,1) in each context, and one of them at random where there are several.

    At first all actions may be equally likely, and the first of them may be the one that pays.
    """
    logp = policy.logp(contexts, None).squeeze(-1)
    order = noise.uniform("tie", logp[0].numel()).view(logp.shape)
    return torch.where(logp == logp.amax(-1, keepdim=True), order, -1.0).argmax(-1, keepdim=True)


def _baseline(env: Env, policy: Policy, contexts: Tensor | None) -> Tensor:
    return env.context_baseline(policy.logp(contexts, None).detach().squeeze(-1))


SAMPLERS = {
    "single_actions": single_actions,
    "single_actions_with_greedy_baseline": single_actions_with_greedy_baseline,
    "action_groups": action_groups,
    "sampled_actions": sampled_actions,
    "sampled_actions_with_greedy_baseline": sampled_actions_with_greedy_baseline,
    "enumerated_actions": enumerated_actions,
    "exact_expectation": exact_expectation,
    "exact_expectation_with_greedy_baseline": exact_expectation_with_greedy_baseline,
}
