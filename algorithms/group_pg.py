"""Group PG: TPO's standardised scores without its target."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, Objective, group_sum, require, standardize, token_sum


@dataclass(frozen=True)
class GroupPG(Objective):
    """REINFORCE on whole candidates, weighted by their standardised scores.

        loss = -sum_i w_i u_i l_i / eta,    u_i = (s_i - mean) / std

    Sum over the drawn candidates, mean over contexts. u = 0 where std <= std_floor. A candidate without a token leaves
    its group. Raises ValueError for eta <= 0 or std_floor < 0. https://arxiv.org/abs/2604.06159 (ablation)
    """

    name = "group_pg"
    paper = "https://arxiv.org/abs/2604.06159"
    sampler = "set"
    invariances = frozenset({"shift", "scale"})
    zero_variance_gradient = "none"

    eta: float = 1.0
    std_floor: float = 1e-6

    def __post_init__(self):
        require(self.eta > 0, "eta", self.eta, "> 0")
        require(self.std_floor >= 0, "std_floor", self.std_floor, ">= 0")

    def loss(self, logp, batch: Batch) -> Loss:
        u = standardize(batch.score, batch.candidate_mask, floor=self.std_floor)
        return group_sum(-u / self.eta * token_sum(logp, batch.mask), batch.weight), {}
