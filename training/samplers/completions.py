"""Samplers of language models: problems -> prompts -> completions -> grades -> a rollout."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from algorithms.base import Batch, scored_completions
from envs.rlvr.base import Problem, TextEnv
from envs.rlvr.tokens import decode
from envs.rlvr.verify import Grade, Pending, require_verdicts
from models.base import Policy, take_rows
from training import checks, distributed
from training.rollout import Rollout, equal_scores

# metrics that count the completions of a status
STATUSES = {
    "verifier_timeouts": "timeout",
    "verifier_crashes": "crash",
    "verifier_invalid": "invalid",
    "verifier_overlong": "length",
}


@dataclass(frozen=True)
class Completions:
    """K completions of each of B prompts, which are being graded.

    prompts (1,B,P)     padded on the left by -1
    tokens (1,B,K,T)    padded on the right by -1
    logp (1,B,K,T)      log-probs in nats that the engine gave the tokens
    truncated (1,B,K)   true for a completion that was cut off
    texts               the completions that this process drew, as text
    pending             their grades, once they are known
    seconds             time that it took to draw them
    """

    prompts: Tensor
    tokens: Tensor
    logp: Tensor
    truncated: Tensor
    texts: list[str]
    pending: Pending
    seconds: float

    def grades(self) -> list[Grade]:
        """One grade for each completion, in order; waits for those that are missing."""
        return distributed.all_gather(self.pending.result())


def complete(env: TextEnv, policy: Policy, problems: list[Problem], k: int, uniforms: Tensor | None) -> Completions:
    """Draw `k` completions of each problem and start to grade them.

    uniforms (len(problems) * k, max_new_tokens) decide what is drawn; None takes the likeliest token each time. Raises
    ValueError for a prompt that leaves no room for its completion.
    """
    start = time.monotonic()
    prompts = [env.encode(problem, policy.tokenizer) for problem in problems]
    for problem, prompt in zip(problems, prompts, strict=True):
        checks.check_room(env, problem.prompt, len(prompt), policy.window)
    shard = distributed.local_slice(len(problems))
    numbers = None if uniforms is None else uniforms[shard.start * k : shard.stop * k]
    output = policy.complete(prompts[shard], k, numbers, env.max_new_tokens)
    rows = zip(output.tokens.tolist(), output.lengths.tolist(), strict=True)
    texts = [decode(row[:n], policy.tokenizer, policy.end_tokens) for row, n in rows]
    pending = env.submit([problem for problem in problems[shard] for _ in range(k)], texts)
    lengths, truncated = distributed.all_gather(output.lengths), distributed.all_gather(output.truncated)
    room = 0, env.max_new_tokens - output.tokens.shape[1]
    tokens, logp = (distributed.all_gather(F.pad(x, room)) for x in (output.tokens, output.logp))
    is_token = torch.arange(env.max_new_tokens, device=tokens.device) < lengths.unsqueeze(1)
    shape = (1, len(problems), k, -1)
    return Completions(
        prompts=pad_prompts(prompts).to(tokens.device),
        tokens=torch.where(is_token, tokens, -1).view(shape),
        logp=logp.view(shape),
        truncated=truncated.view(shape[:3]),
        texts=texts,
        pending=pending,
        seconds=time.monotonic() - start,
    )


def completions(env: TextEnv, policy: Policy, noise) -> Rollout:
    """A group of completions per problem, with log-probs of the rollout policy that the trainer itself computes.

    Each token gets the score of its completion as reward; the baseline is the mean score of the batch.
    """
    problems = _batch_problems(env, noise)
    uniforms = noise.uniform("action", len(problems) * env.candidates * env.max_new_tokens)
    found = complete(env, policy, problems, env.candidates, uniforms.view(-1, env.max_new_tokens))
    with torch.no_grad():  # while the completions are graded
        logp_old = completion_logp(found.prompts, found.tokens)(policy)
    grades = found.grades()
    if noise.step == 1:  # evaluations that could be graded do not excuse training problems that cannot
        require_verdicts(grades)
    return completion_rollout(found, logp_old, grades, policy.max_mismatch)


def completions_with_greedy_baseline(env: TextEnv, policy: Policy, noise) -> Rollout:
    """As `completions`; the baseline is the score of the greedy completion of each problem."""
    rollout, problems = completions(env, policy, noise), _batch_problems(env, noise)
    greedy = complete(env, policy, problems, 1, None).grades()
    batch = rollout.batch
    baseline = _tensor([grade.score for grade in greedy], batch.score).view(1, -1, 1, 1)
    return replace(rollout, batch=replace(batch, baseline=baseline.expand_as(batch.reward)))


def _batch_problems(env: TextEnv, noise) -> list[Problem]:
    problems = env.problems("train")
    return [problems[i] for i in env.contexts(noise)[0].tolist()]


def pad_prompts(prompts: Sequence[list[int]]) -> Tensor:
    """Prompts as tokens (1,B,P), padded on the left by -1."""
    longest = max(map(len, prompts))
    return torch.tensor([[-1] * (longest - len(prompt)) + prompt for prompt in prompts]).unsqueeze(0)


def completion_logp(prompts: Tensor, tokens: Tensor) -> Callable[..., Tensor]:
    """`Rollout.logp` of completions (1,B,K,T). Each completion is a row of its own, so that groups can be split."""
    per_row = prompts.repeat_interleave(tokens.shape[2], dim=1), tokens.flatten(1, 2).unsqueeze(2)

    def logp(policy: Policy, rows: Tensor | None = None) -> Tensor:
        if rows is None:
            return policy.logp(*per_row).view(tokens.shape)
        return policy.logp(*(take_rows(x, rows) for x in per_row))

    return logp


def completion_rollout(found: Completions, logp_old: Tensor, grades: list[Grade], max_mismatch: float) -> Rollout:
    """The rollout of graded completions; raises RuntimeError where engine and trainer disagree on the log-probs."""
    tokens, mask = found.tokens, (found.tokens >= 0).to(logp_old.dtype)
    score, solved = (
        _tensor([getattr(g, key) for g in grades], logp_old).view(tokens.shape[:3]) for key in ("score", "solved")
    )
    batch = scored_completions(logp_old, score, mask)
    metrics = _metrics(found, batch, solved)
    for name, status in STATUSES.items():
        metrics[name] = _tensor([g.status == status for g in grades], logp_old).sum()
    mismatch = metrics["engine_mismatch"].item()
    if not mismatch <= max_mismatch:
        raise RuntimeError(
            f"engine_mismatch={mismatch:.3g} nats per token, above model.max_mismatch={max_mismatch}: the engine does "
            f"not draw from the policy that learns (other weights, or rounding of model.dtype or model.rollout_dtype); "
            f"use model.engine=hf, model.dtype=float32 or model.rollout_dtype=null, or raise model.max_mismatch"
        )
    return Rollout(
        batch=batch,
        logp=completion_logp(found.prompts, tokens),
        metrics={name: value.float().view(1) for name, value in metrics.items()},
        identical=(tokens == tokens[:, :, :1]).flatten(2).all(-1),
        success=solved == 1,
        rows_per_prompt=tokens.shape[2],
        token_count=int(mask.sum()),
    )


def _metrics(found: Completions, batch: Batch, solved: Tensor) -> dict[str, Tensor]:
    """Metrics of the rollout, one number each.

    error, reward, solved   1 - mean score, mean score, share of completions that solve their problem
    all_fail_share          share of problems that no completion solves
    zero_variance_share     share of problems whose completions all have the same score
    length, truncated       tokens per completion, and share of completions that were cut off
    group_size              effective number of completions per group: exp of the entropy of softmax_k(l_old)
    entropy                 -log pi_old per token, in nats
    entropy_per_answer      -log pi_old per completion, in nats
    engine_mismatch         |log-prob of the engine - log-prob of the trainer| per token, in nats
    rollout_tokens_per_second
    """
    mask, old = batch.mask, batch.logp_old
    p_old = (old * mask).sum(-1).log_softmax(-1)
    return {
        "error": 1 - batch.score.mean(),
        "reward": batch.score.mean(),
        "solved": solved.mean(),
        "all_fail_share": (solved.amax(-1) == 0).to(old.dtype).mean(),
        "zero_variance_share": equal_scores(batch).to(old.dtype).mean(),
        "length": mask.sum(-1).mean(),
        "truncated": found.truncated.to(old.dtype).mean(),
        "group_size": (-(p_old.exp() * p_old).sum(-1)).exp().mean(),
        "entropy": -(old * mask).sum() / mask.sum(),
        "entropy_per_answer": -(old * mask).sum(-1).mean(),
        "engine_mismatch": ((old - found.logp).abs() * mask).sum() / mask.sum(),
        "rollout_tokens_per_second": mask.sum() / found.seconds,
    }


def _tensor(values: list, like: Tensor) -> Tensor:
    return torch.tensor([float(value) for value in values], dtype=like.dtype, device=like.device)


SAMPLERS = {"completions": completions, "completions_with_greedy_baseline": completions_with_greedy_baseline}
