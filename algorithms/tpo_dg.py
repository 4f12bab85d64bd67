"""TPO within a context, DG across contexts."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, log_softmax, require
from algorithms.ratios import token_average
from algorithms.tpo import TPO


@dataclass(frozen=True)
class TPODG(TPO):
    """TPO with a weight for each context: DG's gate, at the largest delight in its group.

        loss = -g sum_i q_i log p_i,    g = sigmoid(max_i u_i s_i / gate_eta),    s_i = -(1/|y_i|) l_old_i

    q, p, u and l are those of tpo; mean over contexts. u_i s_i is DG's delight: the standardised score times the mean
    surprise of the candidate's tokens. g is 1/2 where the policy already does what is best, and near 1 where the best
    candidate was unlikely. The weight of a context changes how fast it is learnt, and leaves TPO's target as it is. The
    TPO paper calls the two methods complementary; the combination is this suite's own. With one context it is TPO up to
    a factor. Raises ValueError for gate_eta <= 0 and as tpo does. https://arxiv.org/abs/2604.06159,
    https://arxiv.org/abs/2603.14608
    """

    name = "tpo_dg"
    paper = "https://arxiv.org/abs/2604.06159"

    gate_eta: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        require(self.gate_eta > 0, "gate_eta", self.gate_eta, "> 0")

    def loss(self, logp, batch: Batch) -> Loss:
        u, q = self.target(batch)
        surprise = -token_average(batch.logp_old, batch.mask)
        gate = (u * surprise / self.gate_eta).amax(-1).sigmoid()
        log_p = log_softmax(self.candidate_logp(logp, batch))
        return -(gate * (q * log_p).sum(-1)).mean(-1), {}
