"""Reasoning Gym: puzzles that are made from a seed, with the library's own verifiers, as far as they can be trusted."""

import functools
import json
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from algorithms.base import require
from envs.rlvr.base import Problem, TextEnv
from envs.rlvr.rules import CHECKED
from envs.rlvr.splits import ATTEMPTS, Generated, split_of

EVALUATES = "its verifier evaluates the answer as code"
SECONDS = 10.0
MOST_SHOTS = 64
REFUSED = {  # each was tried
    "binary_matrix": EVALUATES,
    "countdown": EVALUATES,
    "n_queens": EVALUATES,
    "number_sorting": "its verifier gives a list of NaN the full score",
    "polynomial_multiplication": EVALUATES,
    "puzzle24": EVALUATES,
    "simple_integration": EVALUATES,
    "spiral_matrix": EVALUATES,
    "string_insertion": EVALUATES,
}


@dataclass(frozen=True)
class ReasoningGym(TextEnv):
    """The library's score in [0, 1]; an answer solves a puzzle if it has the full score.

    task_name  a task whose verifier was checked (envs.rlvr.rules.CHECKED)
    options    settings of its generator
    shaping    false: no score for less than a right answer, such as 0.01 for mere JSON in graph_color
    shots      solved puzzles in front of each prompt, in its form; their questions are in no split
    stop       a character at which a completion ends: what is graded is the text before it, without space around
    template   the prompt, with {question}
    data_seed  where the puzzles begin
    https://arxiv.org/abs/2505.24760
    """

    name = "reasoning_gym"
    rule = "envs.rlvr.rules:reasoning_gym"

    task_name: str = "graph_color"
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    shaping: bool = True
    template: str = "{question}"
    shots: int = 0
    stop: str | None = None
    data_seed: int = 0
    chat: str = "auto"
    thinking: bool = False
    batch: int = 16
    candidates: int = 16
    max_new_tokens: int = 256

    def __post_init__(self):
        super().__post_init__()
        if self.task_name not in CHECKED:
            reason = REFUSED.get(self.task_name, "its verifier was not checked, and may evaluate the answer as code")
            raise ValueError(f"task_name={self.task_name}: {reason}; allowed: {', '.join(CHECKED)}")
        require("{question}" in self.template, "template", repr(self.template), "a text with {question} in it")
        require(self.data_seed >= 0, "data_seed", self.data_seed, ">= 0")
        require(0 <= self.shots <= MOST_SHOTS, "shots", self.shots, f"between 0 and {MOST_SHOTS}")
        self._puzzles()  # what cannot be made is refused before any work
        examples(self)

    def problems(self, split: str) -> Sequence[Problem]:
        return _problems(self, split)

    def _puzzles(self) -> Any:
        return puzzles(self.task_name, self.data_seed, json.dumps(self.options, sort_keys=True))

    def problem(self, number: int) -> tuple[str, Problem]:
        """The question of the puzzle with this number, and the puzzle with the solved ones in front of it."""
        question, puzzle = self.puzzle(number)
        shown = "".join(f"{_solved(example)}\n\n" for example in examples(self).values())
        return question, replace(puzzle, prompt=shown + puzzle.prompt)

    def puzzle(self, number: int) -> tuple[str, Problem]:
        """The question of the puzzle with this number, and the puzzle alone."""
        entry = self._puzzles()[number]
        answer = entry["answer"]
        if answer is None:  # any of many: graph_color
            answer = json.dumps(entry["metadata"]["possible_answer"])
        facts = {"task_name": self.task_name, "entry": entry, "shaping": self.shaping}
        return entry["question"], Problem(self.template.replace("{question}", entry["question"]), str(answer), facts)


@functools.cache
def _problems(env: ReasoningGym, split: str) -> Generated:
    return Generated(split, env.problem, frozenset(examples(env)))


@functools.cache
def examples(env: ReasoningGym) -> dict[str, Problem]:
    """{question: puzzle} of those that are shown solved: the first that would have been for training."""
    found: dict[str, Problem] = {}
    for number in range(ATTEMPTS):
        if len(found) == env.shots:
            return found
        question, puzzle = env.puzzle(number)
        if split_of(question) == "train":
            found.setdefault(question, puzzle)
    raise ValueError(f"shots={env.shots}: these options make no more than {len(found)} different questions to show")


def _solved(puzzle: Problem) -> str:
    """A prompt and its answer, which a space separates unless the prompt ends with one."""
    return f"{puzzle.prompt}{'' if puzzle.prompt[-1].isspace() else ' '}{puzzle.answer}"


@functools.cache
def puzzles(task_name: str, data_seed: int, options: str) -> Any:
    """The library's generator; raises ValueError naming what it lacks or refuses."""
    try:
        import reasoning_gym
    except ImportError:
        needs = 'pip install -c constraints.txt -e ".[rlvr]"'
        raise ValueError(f"task_name={task_name}: needs Reasoning Gym: {needs}") from None
    outcome = queue.SimpleQueue()
    threading.Thread(target=_make, args=(reasoning_gym, task_name, data_seed, options, outcome), daemon=True).start()
    try:
        made = outcome.get(timeout=SECONDS)
    except queue.Empty:  # some generators try for ever, such as one that shall colour a full graph with two colours
        raise ValueError(f"options={options}: {task_name} makes no puzzle of them in {SECONDS:g} s") from None
    if isinstance(made, Exception):
        raise ValueError(f"options={options}: refused by Reasoning Gym's {task_name} ({made})")
    return made


def _make(library: Any, task_name: str, data_seed: int, options: str, outcome: queue.SimpleQueue) -> None:
    """Put a generator that has made its first puzzle, or what it raised."""
    try:
        made = library.create_dataset(task_name, size=2**62, seed=data_seed, **json.loads(options))
        made[0]
    except Exception as error:  # each raises its own, and not always where it reads the setting
        made = error
    outcome.put(made)
