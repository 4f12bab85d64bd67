"""How well a language model answers held-out problems, by the rule that also rewards it."""

import statistics

import torch
from torch import Tensor

from envs.rlvr.base import Problem, TextEnv
from models.base import Policy
from training.completions import answer
from training.noise import Noise

SHOWN = 4  # completions kept per evaluation
CHOICE = Noise((0,))  # of the problems: the same for every seed, step and method


def held_out(env: TextEnv, split: str, count: int) -> list[Problem]:
    """`count` problems of a split, or all of them if it has no more, always the same."""
    problems = env.problems(split)
    if count >= len(problems):
        return list(problems)
    order = CHOICE.uniform("eval", len(problems))[0].argsort()
    return [problems[i] for i in order[:count].tolist()]


def evaluate(
    env: TextEnv, policy: Policy, noise: Noise, split: str, count: int, greedy: bool = True
) -> tuple[dict[str, Tensor], list[dict]]:
    """Metrics {name: (1,)} and a few completions: sampled accuracy and score, and accuracy of the likeliest tokens.

    `<split>_ungraded` counts the completions of either kind that have no verdict, and therefore score 0.
    """
    problems, size = held_out(env, split, count), env.max_new_tokens
    uniforms = noise.uniform("eval", len(problems) * size).view(-1, size)
    found = {"sampled": answer(env, policy, problems, 1, uniforms)}
    if greedy:  # while the others are graded
        found["greedy"] = answer(env, policy, problems, 1, None)
    grades = {how: answers.grades() for how, answers in found.items()}
    metrics = {f"{split}_accuracy": statistics.fmean(g.solved for g in grades["sampled"])}
    metrics[f"{split}_score"] = statistics.fmean(g.score for g in grades["sampled"])
    if greedy:
        metrics[f"{split}_greedy"] = statistics.fmean(g.solved for g in grades["greedy"])
    metrics[f"{split}_ungraded"] = sum(grade.status != "ok" for each in grades.values() for grade in each)
    samples = [
        {"split": split, "greedy": how == "greedy", "prompt": p.prompt, "answer": p.answer, "completion": text}
        | {"score": grade.score, "solved": grade.solved, "status": grade.status}
        for how, answers in found.items()
        for p, text, grade in zip(problems[:SHOWN], answers.texts, grades[how], strict=False)
    ]
    return {name: torch.tensor([float(value)], device=noise.device) for name, value in metrics.items()}, samples
