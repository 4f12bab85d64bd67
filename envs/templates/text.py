"""Template name: what is asked and which answer is right, in a line."""

import functools
import random
from dataclasses import dataclass

from algorithms.base import require
from envs.rlvr import tokens
from envs.rlvr.base import Problem, TextEnv
from envs.rlvr.splits import Generated


@dataclass(frozen=True)
class TemplateName(TextEnv):
    """Name the largest of `count` digits: the right answer to "274=" is "7". Raises ValueError for a count below 1.

    Problems are made when they are asked for. A tenth of them is for validation and a tenth for the test.
    """

    name = "template_name"  # the `task` of the yaml file
    rule = f"{__file__}:score"  # the function below, which runs in a process without files, network or much memory
    warm_accuracy = 0.0  # of a model that starts untrained, after it was shown right answers; 0: it is shown none

    # Settings, each with its default here and in the yaml file.
    count: int = 3
    batch: int = 16  # problems of a step
    candidates: int = 16  # completions of each
    max_new_tokens: int = 2  # a digit and the end of the completion

    def __post_init__(self):
        super().__post_init__()
        require(self.count >= 1, "count", self.count, ">= 1")

    def problems(self, split):
        """The problems of "train", "validation" or "test"."""
        return make_problems(self.count, split)

    def tokenizer(self):
        """One token per character, for a model that is made for this task; a pretrained one brings its own."""
        return tokens.characters("0123456789=")


@functools.cache
def make_problems(count, split):
    return Generated(split, functools.partial(make_problem, count))


def make_problem(count, number):
    """A key, and the problem with this number; problems of one key are never in two splits."""
    digits = random.Random(number).choices("0123456789", k=count)
    facts = {"answer": max(digits)}  # what the score needs to know
    return "".join(digits), Problem("".join(digits) + "=", max(digits), facts)


def score(completion, facts):
    """The reward of a completion: 1 for what is asked, 0 for nothing of it, or any number between."""
    return float(completion == facts["answer"])
