"""Target Policy Optimization."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, Objective, log_softmax, require, softmax, standardize, token_sum


@dataclass(frozen=True)
class TPO(Objective):
    """Fit the policy, by cross-entropy, to the rollout policy tilted towards the better candidates of each group.

        u_i = (s_i - mean) / std        q_i = softmax_i(l_old_i + u_i / eta)        p_i = softmax_i(l_i)
        loss = -sum_i q_i log p_i,      gradient on l_i: p_i - q_i, which vanishes at the target

    l_i = sum_t log pi(y_it) is the log-prob of candidate i; q maximises <r, u> - eta KL(r || p_old).
    Where std <= std_floor, u = 0: such a group only holds the policy at p_old. `anchor=false` leaves l_old out of q.
    Mean over contexts. Raises ValueError for eta <= 0 or std_floor < 0. https://arxiv.org/abs/2604.06159
    """

    name = "tpo"
    paper = "https://arxiv.org/abs/2604.06159"
    sampler = "set"
    invariances = frozenset({"shift", "scale"})
    relative = True

    eta: float = 1.0
    anchor: bool = True
    std_floor: float = 1e-6

    def __post_init__(self):
        require(self.eta > 0, "eta", self.eta, "> 0")
        require(self.std_floor >= 0, "std_floor", self.std_floor, ">= 0")

    @property
    def flat(self) -> str:
        return "first" if self.anchor else "never"

    def loss(self, logp, batch: Batch) -> Loss:
        u = standardize(batch.score, floor=self.std_floor)
        l_old = token_sum(batch.logp_old, batch.mask) if self.anchor else 0.0
        q = softmax(l_old + u / self.eta)
        log_p = log_softmax(token_sum(logp, batch.mask))
        return -(q * log_p).sum(-1).mean(-1), {}
