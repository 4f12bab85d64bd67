"""Cross-entropy to the oracle."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, Objective, log_softmax, token_sum


@dataclass(frozen=True)
class CE(Objective):
    """Supervised cross-entropy to the rewarded actions, for environments that know the true rewards.

        loss = -sum_a q_a log p_a,    q_a = score_a / sum_b score_b,    p = softmax(l)

    Mean over contexts. Scores are true rewards >= 0; a context without a reward contributes 0. It is the upper bound in
    https://arxiv.org/abs/2604.06159
    """

    name = "ce"
    paper = "https://arxiv.org/abs/2604.06159"
    sampler = "oracle"
    invariances = frozenset({"scale"})
    shift_invariant_in_logp = True

    def loss(self, logp, batch: Batch) -> Loss:
        q = batch.score / batch.score.sum(-1, keepdim=True).clamp_min(1e-12)
        log_p = log_softmax(token_sum(logp, batch.mask))
        return -(q * log_p).sum(-1).mean(-1), {}
