"""A few completions of a language model, as it was graded during training."""

from pathlib import Path
from typing import Any

from store.runs import Run, RunStore


def find_runs(name: str, store: RunStore) -> list[Run]:
    """The run that `name` says: its folder, its id, or the beginning of that."""
    if Path(name, "config.yaml").is_file():
        return [Run(Path(name))]
    return [run for run in store.runs() if run.path.name.startswith(name)]


def sample_lines(samples: list[dict[str, Any]]) -> list[str]:
    """One block per evaluation, one line per completion; what is no plain character is escaped."""
    evaluations: dict[tuple, list[dict[str, Any]]] = {}
    for s in samples:
        evaluations.setdefault((s["seed"], s["step"], s["split"], s["greedy"]), []).append(s)
    found = []
    for (seed, step, split, greedy), kept in evaluations.items():
        found.append(f"seed {seed}, step {step}, {split}, {'likeliest tokens' if greedy else 'sampled'}:")
        for s in kept:
            right = f" (right: {s['answer']!r})" if s["answer"] else ""
            found.append(f"  {verdict(s)}  {s['prompt']!r} -> {s['completion']!r}{right}")
    return found


def verdict(sample: dict[str, Any]) -> str:
    """Its score, and whether it is right, or why it could not be graded (envs.rlvr.grades.Grade)."""
    status = sample.get("status", "ok")
    return f"{sample['score']:.2f} {status if status != 'ok' else 'solved' if sample['solved'] else 'wrong':6}"
