"""Rollouts: how candidates are laid out before an objective sees them, and which of them it needs to see again."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from algorithms.base import Batch, Objective
from envs.base import Env
from models.base import Policy, sample_tokens, take_rows
from training import distributed


@dataclass(frozen=True)
class Rollout:
    """What an objective compares, and how to ask a policy again, in every epoch, for its log-probs (*L,B,K,T).

    `metrics` {name: (S,)} are those of the drawn candidates themselves, `success` (S,B,K) says which of them are right
    where a task knows it. Where a forward pass is what costs, `equal` (S,P) marks the prompts whose candidates are all
    the same, and `logp` takes the numbers (S,n) of the rows to ask for, of which each prompt has `rows`: 1 if all its
    candidates pass together. `tokens` counts what was drawn, where that is a measure of speed.
    """

    batch: Batch
    logp: Callable[..., Tensor]
    metrics: dict[str, Tensor] = field(default_factory=dict)
    equal: Tensor | None = None
    success: Tensor | None = None
    rows: int = 1
    tokens: int = 0

    def active_rows(self, objective: Objective, on_policy: bool) -> Tensor:
        """Which rows (S,P*rows) this objective draws a gradient from; `on_policy`: at the policy that drew them."""
        idle = self.equal & objective.shift_invariant_in_logp
        if objective.zero_variance_gradient == "none" or (
            objective.zero_variance_gradient == "none_on_policy" and on_policy
        ):
            flat = zero_variance_contexts(objective, self.batch)
            idle = idle | flat.view(*idle.shape, -1).all(-1)
        return (~idle).repeat_interleave(self.rows, dim=1)

    def with_reference(self, reference: Policy) -> "Rollout":
        """The same with log-probs under a reference policy."""
        with torch.no_grad():
            return replace(self, batch=replace(self.batch, logp_ref=self.logp(reference)))

    def logp_of_active_rows(self, active_rows: Tensor, policy: Policy) -> Tensor:
        """`logp` of the rows that matter, and logp_old elsewhere."""
        if active_rows.all():
            return self.logp(policy)
        old, rows = self.batch.logp_old, _first(active_rows)
        per_row = old.reshape(*active_rows.shape, -1)
        asked = self.logp(policy, rows).reshape(*rows.shape, -1)
        asked = torch.where(take_rows(active_rows, rows).unsqueeze(-1), asked, take_rows(per_row, rows))
        return per_row.scatter(1, rows.unsqueeze(-1).expand_as(asked), asked).view(old.shape)

    def backward(self, active_rows: Tensor, policy: Policy, grad: Tensor, size: int | None) -> None:
        """Add d(logp) / d(theta) times grad (*L,B,K,T) to the gradients of the policy, `size` rows at a time.

        Where several processes train the policy, each adds what comes of its share of the rows.
        """
        grad, asked = grad.reshape(*active_rows.shape, -1) * active_rows.unsqueeze(-1), _first(active_rows)
        mine = asked[:, distributed.local_slice(asked.shape[1])]
        for rows in mine.split(size or max(1, mine.shape[1]), dim=1) if mine.numel() else ():
            (self.logp(policy, rows).reshape(*rows.shape, -1) * take_rows(grad, rows)).sum().backward()


def _first(active_rows: Tensor) -> Tensor:
    """Numbers (S,n) of the rows that matter, where n is the most that any seed has; other seeds add idle ones."""
    return active_rows.int().argsort(dim=1, descending=True, stable=True)[:, : max(1, int(active_rows.sum(1).max()))]


def zero_variance_contexts(objective: Objective, batch: Batch) -> Tensor:
    """Contexts (S,B) in which no candidate beats its group, or its baseline where there is no group."""
    if objective.sampler == "single":
        return (batch.advantage == 0).flatten(-2).all(-1)
    return batch.score.amax(-1) == batch.score.amin(-1)


def sampled_actions(env: Env, policy: Policy, noise) -> Rollout:
    """Sampled actions, as `sampled_batch` lays them out."""
    contexts, arms, reward = _draw(env, policy, noise)
    batch = sampled_batch(policy.logp(contexts, arms).detach(), reward, _baseline(env, policy, contexts))
    return Rollout(batch, lambda policy: _one_group(policy.logp(contexts, arms)))


def sampled_actions_with_greedy_baseline(env: Env, policy: Policy, noise) -> Rollout:
    """Sampled actions, each with the reward of its context's likeliest action as the baseline."""
    contexts, arms, reward = _draw(env, policy, noise, beside=_likeliest)
    batch = sampled_batch(policy.logp(contexts, arms).detach(), reward[:, :, :-1], reward[:, :, -1])
    return Rollout(batch, lambda policy: _one_group(policy.logp(contexts, arms)))


def sampled_batch(logp: Tensor, reward: Tensor, baseline: Tensor) -> Batch:
    """Draws (S,C,n,1) with baselines (S,C,1): those of all contexts are one group, and together they weigh 1."""
    baseline, one = baseline.unsqueeze(-1).expand(reward.shape), torch.ones((), device=reward.device)
    score = _one_group(reward).squeeze(-1)
    weight = (one / score.shape[-1]).expand(score.shape)
    return Batch(_one_group(logp), _one_group(reward), _one_group(baseline), one, score, weight)


def _one_group(x: Tensor) -> Tensor:
    """(S,C,n,1) -> (S,1,C*n,1)."""
    return x.flatten(1, 2).unsqueeze(1)


def enumerated_actions(env: Env, policy: Policy, noise) -> Rollout:
    """All actions, as `enumerated_batch` scores them by what was drawn."""
    contexts, arms, reward = _draw(env, policy, noise)
    batch = enumerated_batch(policy.logp(contexts, None).detach(), arms, reward, _baseline(env, policy, contexts))
    return Rollout(batch, lambda policy: policy.logp(contexts, None))


def enumerated_batch(logp: Tensor, arms: Tensor, reward: Tensor, baseline: Tensor) -> Batch:
    """All actions (S,C,A,1), each scored by the mean over the draws (S,C,n) of (reward - baseline) 1[it was drawn]."""
    share = torch.full(arms.shape, 1 / arms.shape[-1], device=arms.device)
    zero, one = torch.zeros_like(logp).squeeze(-1), torch.ones((), device=arms.device)
    advantage = reward.squeeze(-1) - baseline
    score, draws = (zero.scatter_add(-1, arms, x.to(zero.dtype)) for x in (advantage * share, share))
    return Batch(logp, score.unsqueeze(-1), 0 * one, one, score, draws)


def exact_expectation(env: Env, policy: Policy, noise) -> Rollout:
    """All actions with their true rewards, weighted by the rollout policy: no sampling of actions."""
    contexts = env.contexts(noise)
    logp = policy.logp(contexts, None).detach()
    reward, one = env.true_reward(contexts, logp.device), torch.ones((), device=logp.device)
    batch = Batch(logp, reward.unsqueeze(-1), env.baseline * one, one, reward, logp.squeeze(-1).exp())
    return Rollout(batch, lambda policy: policy.logp(contexts, None))


def exact_expectation_with_greedy_baseline(env: Env, policy: Policy, noise) -> Rollout:
    """As `exact_expectation`, with the reward of each context's likeliest action as the baseline."""
    rollout = exact_expectation(env, policy, noise)
    greedy = rollout.batch.logp_old.argmax(2, keepdim=True)
    reward = rollout.batch.reward.expand_as(rollout.batch.logp_old)
    return replace(rollout, batch=replace(rollout.batch, baseline=reward.gather(2, greedy)))


def _draw(env: Env, policy: Policy, noise, beside=None) -> tuple[Tensor | None, Tensor, Tensor]:
    """Contexts, drawn actions (S,C,n) and their rewards: `batch` contexts with one action each, or all with `batch`.

    `beside` (log-probs (S,C,A) -> (S,C,1)) chooses one more action per context, whose reward comes last.
    """
    contexts = env.contexts(noise)
    groups, n = (env.spec.contexts, env.batch) if contexts is None else (contexts.shape[1], 1)
    uniforms = noise.uniform("action", groups * n).view(-1, groups, n)
    arms = policy.sample(contexts, uniforms)
    scored = arms if beside is None else torch.cat([arms, beside(policy.logp(contexts, None).squeeze(-1))], dim=-1)
    return contexts, arms, env.score(contexts, scored, noise)


def _likeliest(logp: Tensor) -> Tensor:
    return logp.argmax(-1, keepdim=True)


def _baseline(env: Env, policy: Policy, contexts: Tensor | None) -> Tensor:
    return env.context_baseline(policy.logp(contexts, None).detach().squeeze(-1))


def single_rollout(env: Env, policy: Policy, noise) -> Rollout:
    """One answer per prompt."""
    return _rollouts(env, policy, noise, 1)


def single_rollout_with_greedy_baseline(env: Env, policy: Policy, noise) -> Rollout:
    """One answer per prompt, with the rewards of the likeliest answer, token by token, as the baseline."""
    rollout = _rollouts(env, policy, noise, 1)
    prompts = env.contexts(noise)
    baseline = env.score(prompts, policy.greedy(prompts, env.horizon), noise)
    return replace(rollout, batch=replace(rollout.batch, baseline=baseline))


def group_rollouts(env: Env, policy: Policy, noise) -> Rollout:
    """A group of whole answers per prompt."""
    return _rollouts(env, policy, noise, env.candidates)


def _rollouts(env: Env, policy: Policy, noise, k: int) -> Rollout:
    prompts = env.contexts(noise)
    uniforms = noise.uniform("action", env.batch * k * env.horizon).view(-1, env.batch, k, env.horizon)
    answers, table = policy.generate(prompts, uniforms)
    logp_old = table.gather(-1, answers.unsqueeze(-1)).squeeze(-1)
    return answer_rollout(prompts, answers, logp_old, env.score(prompts, answers, noise))


def answer_rollout(prompts: Tensor, answers: Tensor, logp_old: Tensor, reward: Tensor) -> Rollout:
    """Whole answers (S,B,K,H) with their rewards; the baseline is the batch mean at the same position."""
    score, one = reward.mean(-1), torch.ones((), device=reward.device)
    batch = Batch(logp_old, reward, _level(reward), one, score, one.expand(score.shape))
    equal = (answers == answers[:, :, :1]).flatten(2).all(-1)

    def logp(policy: Policy, rows: Tensor | None = None) -> Tensor:
        return policy.logp(*_rows(rows, prompts, answers))

    return Rollout(batch, logp, {"error": 1 - score.mean((1, 2))}, equal, score == 1)


def _level(reward: Tensor) -> Tensor:
    """Mean (S,1,1,T) over a batch (S,B,K,T); exact where all are equal, as its rounding would pass for an advantage."""
    low, high = reward.amin((1, 2), keepdim=True), reward.amax((1, 2), keepdim=True)
    return torch.where(low == high, low, reward.mean((1, 2), keepdim=True))


def token_group(env: Env, policy: Policy, noise) -> Rollout:
    """A group of next tokens at each state of one behaviour answer, which is made of the first of them."""
    prompts, k = env.contexts(noise), env.candidates
    uniforms = noise.uniform("action", env.batch * env.horizon * k).view(-1, env.batch, env.horizon, k)
    _, table = policy.generate(prompts, uniforms[..., 0].unsqueeze(2))
    table = table.squeeze(2)
    tokens = sample_tokens(table.unsqueeze(3).expand(-1, -1, -1, k, -1), uniforms)
    return token_rollout(prompts, tokens, table.gather(-1, tokens), env.score_tokens(prompts, tokens))


def token_rollout(prompts: Tensor, tokens: Tensor, logp_old: Tensor, reward: Tensor) -> Rollout:
    """States as contexts: next tokens (S,B,H,K), the first of which make the behaviour, with their rewards."""

    def logp(policy: Policy, rows: Tensor | None = None) -> Tensor:
        given, drawn = _rows(rows, prompts, tokens)
        table = policy.table(given, drawn[..., 0].unsqueeze(2)).squeeze(2)
        return table.gather(-1, drawn).flatten(1, 2).unsqueeze(-1)

    score, one = reward.flatten(1, 2), torch.ones((), device=reward.device)
    old = logp_old.flatten(1, 2).unsqueeze(-1)
    batch = Batch(old, score.unsqueeze(-1), 0 * one, one, score, one.expand(score.shape))
    equal = (tokens == tokens[..., :1]).flatten(2).all(-1)
    return Rollout(batch, logp, {"error": 1 - reward[..., 0].mean((1, 2))}, equal, score == 1)


def _rows(rows: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tensors if rows is None else tuple(take_rows(x, rows) for x in tensors)


SAMPLERS = {
    "sampled_actions": sampled_actions,
    "sampled_actions_with_greedy_baseline": sampled_actions_with_greedy_baseline,
    "enumerated_actions": enumerated_actions,
    "exact_expectation": exact_expectation,
    "exact_expectation_with_greedy_baseline": exact_expectation_with_greedy_baseline,
    "single_rollout": single_rollout,
    "single_rollout_with_greedy_baseline": single_rollout_with_greedy_baseline,
    "group_rollouts": group_rollouts,
    "token_group": token_group,
}
