"""Evaluation of a language model on held-out problems, by the rule that also gives the rewards."""

import math
import statistics
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.rlvr.base import Problem, TextEnv
from envs.rlvr.verify import Grade
from models.base import Policy
from training.noise import Noise
from training.pass_at_k import mean_pass_at_k
from training.samplers.completions import Completions, complete, divided, with_greedy

SAMPLES_KEPT = 4  # completions kept per evaluation
SELECTION_NOISE = Noise((0,))  # selects the same problems for every seed, step and method


def held_out_problems(env: TextEnv, split: str, count: int) -> list[Problem]:
    """`count` problems of a split, or all of them if it has no more; the same ones at each call."""
    problems = env.problems(split)
    if not problems:
        raise ValueError(f"env={env.name}: problems({split!r}) is empty; an evaluation needs at least one")
    if count >= len(problems):
        return list(problems)
    order = SELECTION_NOISE.uniform("eval", len(problems))[0].argsort()
    return [problems[i] for i in order[:count].tolist()]


@dataclass(frozen=True)
class Evaluation:
    """Metrics {name: (1,)}, a few of the completions, and how many sampled answers to each problem are right."""

    metrics: dict[str, Tensor]
    samples: list[dict]
    right: list[int]


def evaluate(
    env: TextEnv, policy: Policy, noise: Noise, split: str, count: int, greedy: bool = True, n: int = 1
) -> Evaluation:
    """Evaluate on `count` problems with n sampled answers to each and, with `greedy`, the likeliest one.

    Metrics, each with the name of the split in front:

    accuracy, score     share of right answers and mean score of the sampled answers
    pass_at_K           chance that one of K answers is right (training.pass_at_k), for K = 1, 2, 4, ... up to n
    unsolved            share of problems that no sampled answer solves
    entropy             -log pi per token, in nats
    entropy_per_answer  -log pi of a whole answer, in nats
    greedy              share of right answers among the likeliest ones
    ungraded            number of answers of either kind that have no verdict, and therefore score 0
    """
    problems = held_out_problems(env, split, count)
    shape = len(problems), n, env.max_new_tokens
    uniforms = noise.uniform("eval", math.prod(shape)).view(shape)
    found = complete(env, policy, problems, with_greedy(uniforms) if greedy else uniforms)
    every = found.grades()
    sampled, likeliest = divided(every, n, n + greedy)
    right = [sum(g.solved for g in sampled[i : i + n]) for i in range(0, len(sampled), n)]
    metrics = {"accuracy": statistics.fmean(g.solved for g in sampled)}
    metrics["score"] = statistics.fmean(g.score for g in sampled)
    metrics |= {f"pass_at_{k}": value for k, value in mean_pass_at_k(n, right).items()}
    metrics["unsolved"] = statistics.fmean(c == 0 for c in right)
    metrics |= _entropies(found.sampled(n))
    if greedy:
        metrics["greedy"] = statistics.fmean(g.solved for g in likeliest)
    metrics["ungraded"] = sum(grade.status != "ok" for grade in every)
    tensors = {f"{split}_{name}": torch.tensor([float(v)], device=noise.device) for name, v in metrics.items()}
    kept = _kept(split, problems, found.texts[:: n + greedy], sampled[::n], False)
    if greedy:
        kept += _kept(split, problems, found.texts[n :: n + 1], likeliest, True)
    return Evaluation(tensors, kept, right)


def _entropies(found: Completions) -> dict[str, float]:
    drawn = found.tokens >= 0
    nats = -found.logp.double()[drawn].sum().item()
    return {"entropy": nats / int(drawn.sum()), "entropy_per_answer": nats / drawn[..., 0].numel()}


def _kept(split: str, problems: list[Problem], texts: list[str], grades: list[Grade], greedy: bool) -> list[dict]:
    """An answer to each of the first problems."""
    return [
        {"split": split, "greedy": greedy, "problem": number, "prompt": p.prompt, "answer": p.answer}
        | {"completion": text, "score": grade.score, "solved": grade.solved, "status": grade.status}
        for number, p, text, grade in zip(range(SAMPLES_KEPT), problems, texts, grades, strict=False)
    ]
