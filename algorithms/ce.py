"""Cross-entropy to the oracle."""

from dataclasses import dataclass

from algorithms.base import Batch, Loss, Objective, log_softmax, token_sum


@dataclass(frozen=True)
class CE(Objective):
    """Supervised cross-entropy to the actions that truly pay, for environments that know them.

        loss = -sum_a q_a log p_a,    q_a = score_a / sum_b score_b,    p = softmax(l)

    Mean over contexts. Scores are true rewards >= 0; a context in which nothing pays contributes nothing.
    The upper bound of https://arxiv.org/abs/2604.06159
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
