"""Rollouts of language models: problems in words -> prompts -> completions -> grades -> what an objective compares."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from algorithms.base import Batch
from envs.rlvr.base import Problem, TextEnv
from envs.rlvr.tokens import decode
from envs.rlvr.verify import Grade, Pending, require_verdicts
from models.base import Policy, take
from training import ranks
from training.sampling import Rollout


@dataclass(frozen=True)
class Answers:
    """K completions to each of B problems, while they are graded.

    prompts (1,B,P), padded on the left, and tokens (1,B,K,T), padded on the right, by -1 · logp (1,B,K,T) as the engine
    gave it · truncated (1,B,K) bool · texts: those that this process drew · seconds that it took to draw them
    """

    prompts: Tensor
    tokens: Tensor
    logp: Tensor
    truncated: Tensor
    texts: list[str]
    pending: Pending
    seconds: float

    def grades(self) -> list[Grade]:
        """One of each completion, in order."""
        return ranks.together(self.pending.result())


def answer(env: TextEnv, policy: Policy, problems: list[Problem], k: int, uniforms: Tensor | None) -> Answers:
    """`k` completions of each problem, drawn with uniforms (len(problems) * k, max_new_tokens), or the likeliest.

    Raises ValueError for a prompt that leaves no room for its completion.
    """
    start = time.monotonic()
    prompts = [env.encode(problem, policy.tokenizer) for problem in problems]
    longest = max(map(len, prompts))
    if policy.window is not None and longest + env.max_new_tokens > policy.window:
        raise ValueError(
            f"env.max_new_tokens={env.max_new_tokens}: with a prompt of {longest} tokens that is more than the model's "
            f"window of {policy.window}; lower it, or use a model with a longer window"
        )
    mine = ranks.share(len(problems))
    numbers = None if uniforms is None else uniforms[mine.start * k : mine.stop * k]
    drawn = policy.complete(prompts[mine], k, numbers, env.max_new_tokens)
    rows = zip(drawn.tokens.tolist(), drawn.lengths.tolist(), strict=True)
    texts = [decode(row[:n], policy.tokenizer, policy.engine.stops) for row, n in rows]
    pending = env.submit([problem for problem in problems[mine] for _ in range(k)], texts)
    lengths, truncated = ranks.together(drawn.lengths), ranks.together(drawn.truncated)
    room = 0, env.max_new_tokens - drawn.tokens.shape[1]
    tokens, logp = (ranks.together(F.pad(x, room)) for x in (drawn.tokens, drawn.logp))
    counts = torch.arange(env.max_new_tokens, device=tokens.device) < lengths.unsqueeze(1)
    shape = (1, len(problems), k, -1)
    return Answers(
        prompts=prompt_tensor(prompts).to(tokens.device),
        tokens=torch.where(counts, tokens, -1).view(shape),
        logp=logp.view(shape),
        truncated=truncated.view(shape[:3]),
        texts=texts,
        pending=pending,
        seconds=time.monotonic() - start,
    )


def completions_beside_greedy(env: TextEnv, policy: Policy, noise) -> Rollout:
    """As `completions`, with the score of each problem's likeliest completion as the baseline."""
    rollout, problems = completions(env, policy, noise), _chosen(env, noise)
    greedy = answer(env, policy, problems, 1, None).grades()
    batch = rollout.batch
    baseline = _tensor([grade.score for grade in greedy], batch.score).view(1, -1, 1, 1)
    return replace(rollout, batch=replace(batch, baseline=baseline.expand_as(batch.reward)))


def _chosen(env: TextEnv, noise) -> list[Problem]:
    problems = env.problems("train")
    return [problems[i] for i in env.contexts(noise)[0].tolist()]


def prompt_tensor(prompts: Sequence[list[int]]) -> Tensor:
    """Prompts as tokens (1,B,P), padded on the left by -1."""
    longest = max(map(len, prompts))
    return torch.tensor([[-1] * (longest - len(prompt)) + prompt for prompt in prompts]).unsqueeze(0)


def completions(env: TextEnv, policy: Policy, noise) -> Rollout:
    """A group of completions per problem; the log-probs of the rollout policy are the trainer's own, not the engine's.

    Each token gets the score of its completion as reward; the baseline is the mean score of the batch.
    """
    problems = _chosen(env, noise)
    uniforms = noise.uniform("action", len(problems) * env.candidates * env.max_new_tokens)
    answers = answer(env, policy, problems, env.candidates, uniforms.view(-1, env.max_new_tokens))
    with torch.no_grad():  # while the answers are graded
        logp_old = asker(answers.prompts, answers.tokens)(policy)
    grades = answers.grades()
    if noise.step == 1:  # evaluations that could be graded do not excuse training problems that cannot
        require_verdicts(grades)
    return scored(answers, logp_old, grades, policy.max_mismatch)


def asker(prompts: Tensor, tokens: Tensor):
    """`Rollout.logp` of completions (1,B,K,T), each a row of its own, so that a group can be split."""
    flat = prompts.repeat_interleave(tokens.shape[2], dim=1), tokens.flatten(1, 2).unsqueeze(2)

    def logp(policy: Policy, rows: Tensor | None = None) -> Tensor:
        if rows is None:
            return policy.logp(*flat).view(tokens.shape)
        return policy.logp(*(take(x, rows) for x in flat))

    return logp


def scored(answers: Answers, logp_old: Tensor, grades: list[Grade], max_mismatch: float) -> Rollout:
    """What an objective compares; raises RuntimeError where engine and trainer disagree on the log-probs."""
    tokens, mask = answers.tokens, (answers.tokens >= 0).to(logp_old.dtype)
    score, solved = (_tensor([getattr(g, key) for g in grades], logp_old).view(tokens.shape[:3]) for key in KEYS)
    reward = score.unsqueeze(-1).expand(tokens.shape)
    mean = score.mean().clamp(score.amin(), score.amax())  # where all are equal it is that, without rounding
    batch = Batch(logp_old, reward, mean.expand(tokens.shape), mask, score, torch.ones_like(score))
    metrics = _metrics(answers, batch, solved)
    for name, status in STATUSES.items():
        metrics[name] = _tensor([g.status == status for g in grades], logp_old).sum()
    mismatch = metrics["engine_mismatch"].item()
    if not mismatch <= max_mismatch:
        raise RuntimeError(
            f"engine_mismatch={mismatch:.3g} nats per token, above model.max_mismatch={max_mismatch}: the engine does "
            f"not draw from the policy that learns (other weights, or rounding of model.dtype); use model.engine=hf "
            f"or model.dtype=float32, or raise model.max_mismatch"
        )
    metrics = {name: value.float().view(1) for name, value in metrics.items()}
    equal = (tokens == tokens[:, :, :1]).flatten(2).all(-1)
    logp = asker(answers.prompts, tokens)
    return Rollout(batch, logp, metrics, equal, solved == 1, rows=tokens.shape[2], tokens=int(mask.sum()))


KEYS = ("score", "solved")
STATUSES = {"verifier_timeouts": "timeout", "verifier_crashes": "crash"}
STATUSES |= {"verifier_invalid": "invalid", "verifier_overlong": "length"}


def _metrics(answers: Answers, batch: Batch, solved: Tensor) -> dict[str, Tensor]:
    """Of the rollout, each one number.

    error, reward, solved   1 - mean score, mean score, share of completions that solve their problem
    all_fail_share          problems that no completion solves
    length, truncated       tokens per completion, and the share that was cut off
    group_size              completions that share the probability of their group evenly: exp(H(softmax_k(l_old)))
    entropy                 -log pi_old per token, in nats
    engine_mismatch         |log-prob of the engine - that of the trainer| per token, in nats
    rollout_tokens_per_second
    """
    mask, old = batch.mask, batch.logp_old
    p_old = (old * mask).sum(-1).log_softmax(-1)
    return {
        "error": 1 - batch.score.mean(),
        "reward": batch.score.mean(),
        "solved": solved.mean(),
        "all_fail_share": (solved.amax(-1) == 0).to(old.dtype).mean(),
        "length": mask.sum(-1).mean(),
        "truncated": answers.truncated.to(old.dtype).mean(),
        "group_size": (-(p_old.exp() * p_old).sum(-1)).exp().mean(),
        "entropy": -(old * mask).sum() / mask.sum(),
        "engine_mismatch": ((old - answers.logp).abs() * mask).sum() / mask.sum(),
        "rollout_tokens_per_second": mask.sum() / answers.seconds,
    }


def _tensor(values: list, like: Tensor) -> Tensor:
    return torch.tensor([float(value) for value in values], dtype=like.dtype, device=like.device)


SAMPLERS = {"completions": completions, "completions_beside_greedy": completions_beside_greedy}
