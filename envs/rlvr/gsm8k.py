"""GSM8K: grade-school word problems that end in one number."""

import functools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from algorithms.base import require
from envs.hub import fetch
from envs.rlvr.base import Problem, TextEnv
from envs.rlvr.graders import GRADERS, canonical
from envs.rlvr.splits import fraction

HUB = "openai/gsm8k"
GOLD = "####"  # before the number in the data's own solutions
HELD_OUT = 0.05


@dataclass(frozen=True)
class GSM8K(TextEnv):
    """Reward 1 if `grader` finds the right number in the completion, else 0.

    grader    one of envs.rlvr.graders.GRADERS, which docs/graders.md compares
    data_dir  folder with train.jsonl and test.jsonl; null: the public hub, at `revision`
    template  the prompt, with {question} and perhaps {marker}
    One question in twenty of the training file, chosen by its hash, is for validation. https://arxiv.org/abs/2110.14168
    """

    name = "gsm8k"

    data_dir: str | None = None
    revision: str = "e53f048856ff4f594e959d75785d2c2d37b678ee"
    template: str = "{question}\n\nReason step by step. End with a line that holds only {marker} and the number.\n"
    marker: str = GOLD
    grader: str = "published"
    chat: str = "auto"
    thinking: bool = False
    batch: int = 16
    candidates: int = 16
    max_new_tokens: int = 512

    def __post_init__(self):
        super().__post_init__()
        require("{question}" in self.template, "template", repr(self.template), "a text with {question} in it")
        lines = self.marker.strip().splitlines()
        require(lines == [self.marker], "marker", repr(self.marker), "one line of text without space around it")
        require(self.grader in GRADERS, "grader", self.grader, f"one of {', '.join(GRADERS)}")
        load(self.data_dir, self.revision)  # what cannot be loaded is refused before any work

    @property
    def rule(self) -> str:
        return f"envs.rlvr.graders:{self.grader}"

    def problems(self, split: str) -> Sequence[Problem]:
        return _problems(self)[split]


@functools.cache
def _problems(env: GSM8K) -> dict[str, list[Problem]]:
    problems = {"train": [], "validation": [], "test": []}
    for file, rows in load(env.data_dir, env.revision).items():
        for question, solution in rows:
            split = "validation" if file == "train" and fraction(question) < HELD_OUT else file
            prompt = env.template.replace("{marker}", env.marker).replace("{question}", question)
            reasoning, _, gold = solution.rpartition(GOLD)
            said, facts = _said(env.grader, env.marker, gold), {"answer": canonical(gold), "marker": env.marker}
            problems[split].append(Problem(prompt, reasoning + said, facts))
    return problems


def _said(grader: str, marker: str, gold: str) -> str:
    """The end of a right answer, as the grader reads it; `gold` is what stands behind the data's own marker."""
    if grader == "strict":
        return marker + gold
    return f"\\boxed{{{canonical(gold)}}}" if grader == "boxed" else f"{marker} {canonical(gold)}"


@functools.cache
def load(data_dir: str | None, revision: str) -> dict[str, list[tuple[str, str]]]:
    """Questions and solutions of "train" and "test"; raises ValueError naming what was found and what was expected."""
    if data_dir:
        folder = Path(os.path.expanduser(data_dir))
        return {split: _rows(_file(folder, f"{split}.jsonl"), data_dir) for split in ("train", "test")}
    ways = (
        "set env.data_dir to a folder with train.jsonl and test.jsonl, or use env=arithmetic, which needs no download"
    )
    splits = fetch(HUB, ways, "main", revision)
    return {split: _rows(((f"{split} {i}", row) for i, row in enumerate(splits[split])), None) for split in splits}


def _file(folder: Path, name: str) -> Iterable[tuple[str, object]]:
    """Where it stands, and what each line of a file says."""
    require((folder / name).exists(), "data_dir", folder, f"a folder that holds {name}")
    try:
        lines = (folder / name).read_text(encoding="utf-8").rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"data_dir={folder}: cannot read {name} ({reason})") from None
    require(lines != [""], "data_dir", folder, f"a folder whose {name} is not empty")
    for i, line in enumerate(lines, 1):
        try:
            yield f"{name} line {i}", json.loads(line)
        except ValueError:
            raise ValueError(f"data_dir={folder}: {name} line {i} is no JSON, or cut off: {line[:60]!r}") from None


def _rows(rows: Iterable[tuple[str, object]], data_dir: str | None) -> list[tuple[str, str]]:
    found = []
    for where, row in rows:
        texts = [row.get(key) for key in ("question", "answer")] if isinstance(row, dict) else [None]
        right = all(isinstance(text, str) for text in texts) and GOLD in texts[1]
        if not right or canonical(texts[1].rpartition(GOLD)[2]) is None:
            raise ValueError(
                f"data_dir={data_dir or 'null'}: {where} must have the texts question and answer, "
                f"the answer with '{GOLD} NUMBER' at its end; found {str(row)[:80]!r}"
            )
        found.append((texts[0], texts[1]))
    return found
