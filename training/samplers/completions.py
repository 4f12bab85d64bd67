"""Samplers of language models: problems -> prompts -> completions -> grades -> a rollout."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

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
    tokens_per_second   how fast they were drawn
    """

    prompts: Tensor
    tokens: Tensor
    logp: Tensor
    truncated: Tensor
    texts: list[str]
    pending: Pending
    tokens_per_second: float

    def grades(self) -> list[Grade]:
        """One grade for each completion, in order; waits for those that are missing."""
        return distributed.all_gather(self.pending.result())

    def sampled(self, k: int) -> "Completions":
        """Those of the first k rows of uniforms. Texts, grades and speed are still those of all."""
        fields = ("tokens", "logp", "truncated")
        return replace(self, **{name: getattr(self, name)[:, :, :k] for name in fields})


def with_greedy(uniforms: Tensor) -> Tensor:
    """Uniforms (B,K,T) for `complete`, and for each problem a row that takes the likeliest token each time."""
    return torch.cat([uniforms, torch.full_like(uniforms[:, :1], torch.nan)], dim=1)


def complete(env: TextEnv, policy: Policy, problems: list[Problem], uniforms: Tensor) -> Completions:
    """Draw K completions of each of B problems by uniforms (B,K,max_new_tokens), and start to grade them.

    Raises ValueError for a prompt that leaves no room for its completion.
    """
    start, k = time.monotonic(), uniforms.shape[1]
    prompts = [env.encode(problem, policy.tokenizer) for problem in problems]
    for problem, prompt in zip(problems, prompts, strict=True):
        checks.check_room(env, problem.prompt, len(prompt), policy.window)
    shard = distributed.local_slice(len(problems))
    output = policy.complete(prompts[shard], k, uniforms[shard].flatten(0, 1))
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
        tokens_per_second=int(is_token.sum()) / (time.monotonic() - start),
    )


def completions(env: TextEnv, policy: Policy, noise) -> Rollout:
    """A group of completions per problem, with log-probs of the rollout policy that the trainer itself computes.

    Each token gets the score of its completion as reward; the baseline is the mean score of the batch.
    """
    return _completions(env, policy, noise, greedy=False)[0]


def completions_with_greedy_baseline(env: TextEnv, policy: Policy, noise) -> Rollout:
    """As `completions`; the baseline is the score of the greedy completion of each problem."""
    rollout, greedy = _completions(env, policy, noise, greedy=True)
    batch = rollout.batch
    baseline = _tensor([grade.score for grade in greedy], batch.score).view(1, -1, 1, 1)
    return replace(rollout, batch=replace(batch, baseline=baseline.expand_as(batch.reward)))


def _completions(env: TextEnv, policy: Policy, noise, greedy: bool) -> tuple[Rollout, list[Grade]]:
    """The rollout of a step, and with `greedy` the grades of the greedy completions of its problems."""
    problems, k = env.problems("train"), env.candidates
    problems = [problems[i] for i in env.contexts(noise)[0].tolist()]
    shape = len(problems), k, env.max_new_tokens
    uniforms = noise.uniform("action", math.prod(shape)).view(shape)
    drawn = complete(env, policy, problems, with_greedy(uniforms) if greedy else uniforms)
    found = drawn.sampled(k)
    with torch.no_grad():  # while the completions are graded
        logp_old = completion_logp(found.prompts, found.tokens)(policy)
    sampled, likeliest = divided(drawn.grades(), k, k + greedy)
    if noise.step == 1:  # evaluations that could be graded do not excuse training problems that cannot
        require_verdicts(sampled)
    return completion_rollout(found, logp_old, sampled, policy.max_mismatch), likeliest


def divided(values: list, k: int, size: int) -> tuple[list, list]:
    """The first k of each `size` values in a row, and the others."""
    first = [value for i, value in enumerate(values) if i % size < k]
    return first, [value for i, value in enumerate(values) if i % size >= k]


def pad_prompts(prompts: Sequence[list[int]]) -> Tensor:
    """Prompts as tokens (1,B,P), padded on the left by -1."""
    rows = [torch.tensor(prompt, dtype=torch.long) for prompt in prompts]
    return pad_sequence(rows, batch_first=True, padding_value=-1, padding_side="left").unsqueeze(0)


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
        "rollout_tokens_per_second": torch.tensor(found.tokens_per_second, device=old.device),
    }


def _tensor(values: list, like: Tensor) -> Tensor:
    return torch.tensor([float(value) for value in values], dtype=like.dtype, device=like.device)


SAMPLERS = {"completions": completions, "completions_with_greedy_baseline": completions_with_greedy_baseline}
