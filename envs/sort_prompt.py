"""Sort the tokens of the prompt."""

from dataclasses import dataclass

from torch import Tensor

from envs.sequence import SequenceEnv


@dataclass(frozen=True)
class SortPrompt(SequenceEnv):
    """Write the tokens of the prompt from the smallest to the largest. The settings are those of `SequenceEnv`."""

    name = "sort_prompt"

    def answer(self, prompts: Tensor) -> Tensor:
        return prompts.sort(-1).values
