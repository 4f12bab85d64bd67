"""Samplers of sequence tasks: S seeds, B prompts, K candidates per group, H tokens per answer."""

from dataclasses import replace

import torch
from torch import Tensor

from algorithms.base import Batch, batch_mean
from envs.base import Env
from models.base import Policy, sample_tokens, take_rows
from training import checks
from training.rollout import Rollout


def single_rollout(env: Env, policy: Policy, noise) -> Rollout:
    """One answer per prompt."""
    return _sample_answers(env, policy, noise, 1)


def single_rollout_with_greedy_baseline(env: Env, policy: Policy, noise) -> Rollout:
    """One answer per prompt; the baseline of each token is the reward of the same token of the greedy answer."""
    rollout = _sample_answers(env, policy, noise, 1)
    prompts = env.contexts(noise)
    baseline = checks.checked_score(env, prompts, policy.greedy(prompts, env.horizon), noise)
    return replace(rollout, batch=replace(rollout.batch, baseline=baseline))


def group_rollouts(env: Env, policy: Policy, noise) -> Rollout:
    """A group of whole answers per prompt."""
    return _sample_answers(env, policy, noise, env.candidates)


def _sample_answers(env: Env, policy: Policy, noise, k: int) -> Rollout:
    prompts = checks.checked_contexts(env, noise)
    uniforms = noise.uniform("action", env.batch * k * env.horizon).view(-1, env.batch, k, env.horizon)
    answers, table = policy.generate(prompts, uniforms)
    logp_old = table.gather(-1, answers.unsqueeze(-1)).squeeze(-1)
    return answer_rollout(prompts, answers, logp_old, checks.checked_score(env, prompts, answers, noise))


def answer_rollout(prompts: Tensor, answers: Tensor, logp_old: Tensor, reward: Tensor) -> Rollout:
    """Whole answers (S,B,K,H) and their rewards; the baseline of a token is the batch mean at its position."""
    score, one = reward.mean(-1), torch.ones((), device=reward.device)
    batch = Batch(logp_old, reward, batch_mean(reward), one, score, one.expand(score.shape))
    identical = (answers == answers[:, :, :1]).flatten(2).all(-1)

    def logp(policy: Policy, rows: Tensor | None = None) -> Tensor:
        return policy.logp(*_select(rows, prompts, answers))

    return Rollout(batch, logp, {"error": 1 - score.mean((1, 2))}, identical, score == 1)


def token_group(env: Env, policy: Policy, noise) -> Rollout:
    """A group of K next tokens at each state of one answer, which consists of the first token of each group."""
    prompts, k = checks.checked_contexts(env, noise), env.candidates
    uniforms = noise.uniform("action", env.batch * env.horizon * k).view(-1, env.batch, env.horizon, k)
    _, table = policy.generate(prompts, uniforms[..., 0].unsqueeze(2))
    table = table.squeeze(2)
    tokens = sample_tokens(table.unsqueeze(3).expand(-1, -1, -1, k, -1), uniforms)
    return token_rollout(prompts, tokens, table.gather(-1, tokens), checks.checked_token_scores(env, prompts, tokens))


def token_rollout(prompts: Tensor, tokens: Tensor, logp_old: Tensor, reward: Tensor) -> Rollout:
    """Next tokens (S,B,H,K) and their rewards, with the B*H states as contexts; the first tokens are the answer."""

    def logp(policy: Policy, rows: Tensor | None = None) -> Tensor:
        selected_prompts, selected = _select(rows, prompts, tokens)
        table = policy.table(selected_prompts, selected[..., 0].unsqueeze(2)).squeeze(2)
        return table.gather(-1, selected).flatten(1, 2).unsqueeze(-1)

    score, one = reward.flatten(1, 2), torch.ones((), device=reward.device)
    old = logp_old.flatten(1, 2).unsqueeze(-1)
    batch = Batch(old, score.unsqueeze(-1), 0 * one, one, score, one.expand(score.shape))
    identical = (tokens == tokens[..., :1]).flatten(2).all(-1)
    return Rollout(batch, logp, {"error": 1 - reward[..., 0].mean((1, 2))}, identical, score == 1)


def _select(rows: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The rows (S,n) of each tensor (S,B,...); all of them for None."""
    return tensors if rows is None else tuple(take_rows(x, rows) for x in tensors)


SAMPLERS = {
    "single_rollout": single_rollout,
    "single_rollout_with_greedy_baseline": single_rollout_with_greedy_baseline,
    "group_rollouts": group_rollouts,
    "token_group": token_group,
}
