"""Evaluation of a language model on held-out problems, by the rule that also gives the rewards."""

import statistics

import torch
from torch import Tensor

from envs.rlvr.base import Problem, TextEnv
from models.base import Policy
from training.noise import Noise
from training.samplers.completions import complete

SAMPLES_KEPT = 4  # completions kept per evaluation
SELECTION_NOISE = Noise((0,))  # selects the same problems for every seed, step and method


def held_out_problems(env: TextEnv, split: str, count: int) -> list[Problem]:
    """`count` problems of a split, or all of them if it has no more; the same ones at each call."""
    problems = env.problems(split)
    if count >= len(problems):
        return list(problems)
    order = SELECTION_NOISE.uniform("eval", len(problems))[0].argsort()
    return [problems[i] for i in order[:count].tolist()]


def evaluate(
    env: TextEnv, policy: Policy, noise: Noise, split: str, count: int, greedy: bool = True
) -> tuple[dict[str, Tensor], list[dict]]:
    """Metrics {name: (1,)} of `count` problems, and a few of the completions.

    The metrics are accuracy and score of sampled completions and, with `greedy`, the accuracy of greedy ones.
    `<split>_ungraded` counts the completions of either kind that have no verdict, and therefore score 0.
    """
    problems, size = held_out_problems(env, split, count), env.max_new_tokens
    uniforms = noise.uniform("eval", len(problems) * size).view(-1, size)
    found = {"sampled": complete(env, policy, problems, 1, uniforms)}
    if greedy:  # while the sampled ones are graded
        found["greedy"] = complete(env, policy, problems, 1, None)
    grades = {how: completions.grades() for how, completions in found.items()}
    metrics = {f"{split}_accuracy": statistics.fmean(g.solved for g in grades["sampled"])}
    metrics[f"{split}_score"] = statistics.fmean(g.score for g in grades["sampled"])
    if greedy:
        metrics[f"{split}_greedy"] = statistics.fmean(g.solved for g in grades["greedy"])
    metrics[f"{split}_ungraded"] = sum(grade.status != "ok" for each in grades.values() for grade in each)
    samples = [
        {"split": split, "greedy": how == "greedy", "prompt": p.prompt, "answer": p.answer, "completion": text}
        | {"score": grade.score, "solved": grade.solved, "status": grade.status}
        for how, completions in found.items()
        for p, text, grade in zip(problems[:SAMPLES_KEPT], completions.texts, grades[how], strict=False)
    ]
    return {name: torch.tensor([float(value)], device=noise.device) for name, value in metrics.items()}, samples
