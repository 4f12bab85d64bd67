"""Template name: what is asked and which answer is right, in a line."""

from dataclasses import dataclass

from algorithms.base import require
from envs.sequence import SequenceEnv


@dataclass(frozen=True)
class TemplateName(SequenceEnv):
    """Write the prompt with `shift` added to each of its tokens, modulo `vocab`.

    Prompts, rewards, groups and the error are those of envs/sequence.py. Raises ValueError for a shift out of range.
    """

    name = "template_name"  # the `task` of the yaml file

    # Settings beside those of envs/sequence.py, each with its default here and in the yaml file.
    shift: int = 1

    def __post_init__(self):
        super().__post_init__()
        require(0 <= self.shift < self.vocab, "shift", self.shift, f"between 0 and vocab - 1 = {self.vocab - 1}")

    def answer(self, prompts):
        """The right answers (S,B,H) to prompts (S,B,H): S seeds, B prompts, H tokens from 0 to vocab - 1."""
        return (prompts + self.shift) % self.vocab
