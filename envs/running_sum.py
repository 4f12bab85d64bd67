"""Write the running sums of the prompt."""

from dataclasses import dataclass

from torch import Tensor

from envs.sequence import SequenceEnv


@dataclass(frozen=True)
class RunningSum(SequenceEnv):
    """Token t of the answer is the sum of the first t tokens of the prompt, modulo `vocab`.

        y_t = (x_1 + ... + x_t) mod V

    A wrong token does not change which later ones are right. The settings are those of `SequenceEnv`.
    """

    name = "running_sum"

    def answer(self, prompts: Tensor) -> Tensor:
        return prompts.cumsum(-1) % self.vocab
