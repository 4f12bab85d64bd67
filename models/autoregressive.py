"""Policies that write answers token by token."""

from collections.abc import Callable

import torch
from torch import Tensor

from models.base import Policy, sample_tokens


class AutoregressivePolicy(Policy):
    """Reads prompts (S,B,H) and writes answers (S,B,K,H); a subclass says in `table` how likely each next token is."""

    def table(self, prompts: Tensor, answers: Tensor) -> Tensor:
        """Log-probs (S,B,K,H,V) of every next token; those at position t depend on the tokens before t alone."""
        raise NotImplementedError

    def logp(self, contexts, candidates) -> Tensor:
        return self.table(contexts, candidates).gather(-1, candidates.unsqueeze(-1)).squeeze(-1)

    def generate(self, prompts: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Answers (S,B,K,H) drawn with uniforms (S,B,K,H), and their `table`."""
        return self._write(prompts, *uniforms.shape[2:], lambda table, t: sample_tokens(table, uniforms[..., t]))

    def greedy(self, prompts: Tensor, horizon: int) -> Tensor:
        """Answers (S,B,1,H) of the likeliest token each time."""
        return self._write(prompts, 1, horizon, lambda table, t: table.argmax(-1))[0]

    @torch.no_grad()
    def _write(self, prompts: Tensor, k: int, horizon: int, choose: Callable) -> tuple[Tensor, Tensor]:
        """Answers (S,B,K,H) whose token t is what `choose` makes of log-probs (S,B,K,V) and t, and their `table`.

        Each token costs a `table` of the whole answers; a policy with a cache overrides this.
        """
        answers = prompts.new_zeros(*prompts.shape[:2], k, horizon)
        for t in range(horizon):
            table = self.table(prompts, answers)
            answers[..., t] = choose(table[..., t, :], t)
        return answers, table
