"""A folder of a user's with problems and functions that grade them: good ones, careless ones and hostile ones."""

import json
from pathlib import Path

from envs.rlvr.text import Text

TINY = ("env=text", "env.max_new_tokens=4", "env.batch=2", "env.candidates=4", "seeds=1", "model.layers=1")
TINY += ("model.hidden=16", "model.heads=1", "model.kv_heads=1", "model.head_dim=8", "model.mlp=16")
TINY += ("train.eval_problems=4", "train.eval_every=2", "train.steps=4", "optim.lr=1e-2")
KINDS = ("digits", "letters")
GOOD = """
from .shares import share


def score(completion, row):
    return share(completion, row["kind"])
"""
SHARES = """
def share(text, kind):
    wanted = str.isdigit if kind == "digits" else str.isalpha
    return sum(c.isascii() and wanted(c) for c in text) / max(len(text), 1)
"""


def write(folder: Path, code: str = GOOD, count: int = 80) -> Path:
    """problems.jsonl, score.py with `code`, and shares.py that it may import."""
    folder.mkdir(exist_ok=True)
    rows = [row(i) for i in range(count)]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "score.py").write_text(code)
    (folder / "shares.py").write_text(SHARES)
    return folder


def row(i: int) -> dict:
    return {"prompt": f"{KINDS[i % 2]} {i}: ", "answer": ("12", "ab")[i % 2], "kind": KINDS[i % 2]}


def settings(folder: Path, function: str = "score") -> dict[str, str]:
    return {"data": str(folder / "problems.jsonl"), "reward": f"{folder / 'score.py'}:{function}"}


def overrides(folder: Path, function: str = "score") -> tuple[str, ...]:
    return (*TINY, *(f"env.{key}={value}" for key, value in settings(folder, function).items()))


def text(folder: Path, function: str = "score", **others) -> Text:
    return Text(**settings(folder, function) | others)
