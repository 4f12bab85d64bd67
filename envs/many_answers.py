"""A task with many right answers: it shows whether a method keeps those that it did not happen to draw."""

from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.base import require
from envs.sequence import SequenceEnv

MOST_ANSWERS = 10_000  # each evaluation lists them all
COVERED = 0.1  # share of its fair probability from which a right answer counts as covered
PASS_AT = (1, 4, 16, 64)


@dataclass(frozen=True)
class ManyAnswers(SequenceEnv):
    """Any answer is right whose tokens sum to the first token of the prompt, modulo `vocab`.

        right: (y_1 + ... + y_H - x_1) mod V = 0

    So V^(H-1) of the V^H answers are right. The reward is terminal. `evaluate` adds the metrics of `diversity`, exact
    over all answers to 2 V prompts. With H = 2, random answers and a policy that knows one right answer per prompt have
    the same `right_distance`, 1 - 1 / V. With V = 10 random answers lie at the very threshold of `coverage`, so its
    first value says nothing. Raises ValueError for more than MOST_ANSWERS answers or another reward.
    """

    name = "many_answers"

    horizon: int = 2
    vocab: int = 10

    def __post_init__(self):
        super().__post_init__()
        require(self.reward == "terminal", "reward", self.reward, "terminal, since a sum is known at its end")
        answers = self.vocab**self.horizon
        require(answers <= MOST_ANSWERS, "horizon", self.horizon, f"so small that vocab ** horizon <= {MOST_ANSWERS}")

    @property
    def chance_error(self) -> float:
        return 1 - 1 / self.vocab

    def answer(self, prompts: Tensor) -> Tensor:
        return torch.cat([prompts[..., :1], torch.zeros_like(prompts[..., 1:])], dim=-1)

    def correct(self, prompts: Tensor, answers: Tensor) -> Tensor:
        """1 for each token of a right answer, else 0."""
        right = self._remainder(answers) == prompts[..., :1]
        return right.float().unsqueeze(-1).expand(answers.shape)

    def evaluate(self, policy, noise) -> dict[str, Tensor]:
        uniform = noise.uniform("eval", 2 * self.vocab * self.horizon).view(-1, 2 * self.vocab, self.horizon)
        prompts = (uniform * self.vocab).long()
        prompts[..., 0] = torch.arange(2 * self.vocab, device=prompts.device) % self.vocab
        with torch.no_grad():
            logp = self._logp_of_all_answers(policy, prompts)
        right = self._remainder(self._strings(self.horizon, prompts.device)) == prompts[0, :, :1]
        return diversity(logp, right)

    def _logp_of_all_answers(self, policy, prompts: Tensor) -> Tensor:
        """Log-probs (S,P,V^H) of all answers to prompts (S,P,H), in the order of `_strings`."""
        prefixes = self._strings(self.horizon - 1, prompts.device)
        answers = torch.nn.functional.pad(prefixes, (0, 1)).expand(*prompts.shape[:2], -1, -1)
        table = policy.table(prompts, answers)
        chosen = table[..., :-1, :].gather(-1, answers[..., :-1].unsqueeze(-1)).squeeze(-1).sum(-1)
        return (chosen.unsqueeze(-1) + table[..., -1, :]).flatten(2)

    def _strings(self, length: int, device) -> Tensor:
        """All strings (V^length,length) of tokens; the last token changes fastest."""
        powers = self.vocab ** torch.arange(length - 1, -1, -1, device=device)
        return torch.arange(self.vocab**length, device=device).unsqueeze(-1) // powers % self.vocab

    def _remainder(self, answers: Tensor) -> Tensor:
        return answers.sum(-1) % self.vocab


def diversity(logp: Tensor, right: Tensor) -> dict[str, Tensor]:
    """How a policy spreads over right answers, mean over the P prompts: {name: (S,)}.

    logp (S,P,N)  log-probs of all N answers, in nats
    right (P,N)   true for the R right answers to a prompt

        right_distance = 1 - sum_right min(p(y), 1/R)                    distance to the uniform policy over right ones
        coverage       = share of right answers with p(y) >= 0.1 / R
        right_entropy  = -sum_right q(y) log q(y),  q(y) = p(y) / sum_right p,  in nats; at most log R
        pass_k         = 1 - (1 - sum_right p(y))^k

    `right_distance` is the total variation distance max_A |p(A) - u(A)| to that uniform policy u.
    """
    p = torch.where(right, logp.double().exp(), 0.0)
    fair = 1 / right.sum(-1, keepdim=True).double()
    mass = p.sum(-1, keepdim=True)
    q = p / mass.clamp_min(torch.finfo(p.dtype).tiny)
    found = {
        "right_distance": 1 - p.minimum(fair).sum(-1),
        "coverage": ((p >= COVERED * fair) & right).double().sum(-1) * fair.squeeze(-1),
        "right_entropy": -torch.special.xlogy(q, q).sum(-1),
    }
    found |= {f"pass_{k}": 1 - (1 - mass.squeeze(-1)).clamp_min(0) ** k for k in PASS_AT}
    return {name: value.mean(-1).float() for name, value in found.items()}
