"""How well a language model answers held-out problems, by the rule that also rewards it."""

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
    """Metrics {name: (1,)} and a few completions: sampled accuracy and score, and accuracy of the likeliest tokens."""
    problems = held_out(env, split, count)
    sampled, (accuracy, score) = _grades(env, policy, problems, noise)
    found = {"accuracy": accuracy, "score": score}
    samples = [{"split": split, "greedy": False} | sample for sample in sampled]
    if greedy:
        likeliest, (found["greedy"], _) = _grades(env, policy, problems, None)
        samples += [{"split": split, "greedy": True} | sample for sample in likeliest]
    return {f"{split}_{name}": torch.tensor([x], device=noise.device) for name, x in found.items()}, samples


def _grades(env: TextEnv, policy: Policy, problems: list[Problem], noise: Noise | None):
    """A few completions with their grades, and (share solved, mean score)."""
    uniforms = None
    if noise is not None:
        uniforms = noise.uniform("eval", len(problems) * env.max_new_tokens).view(-1, env.max_new_tokens)
    answers = answer(env, policy, problems, 1, uniforms)
    grades = answers.grades()
    shown = zip(problems[:SHOWN], answers.texts, grades, strict=False)
    samples = [
        {"prompt": p.prompt, "answer": p.answer, "completion": text, "score": g.score, "solved": g.solved}
        for p, text, g in shown
    ]
    return samples, (sum(g.solved for g in grades) / len(grades), sum(g.score for g in grades) / len(grades))
