"""Group sequence policy optimisation."""

from dataclasses import dataclass

from algorithms.aggregate import seq_mean_token_mean
from algorithms.base import Batch, Loss, Objective, require, standardize
from algorithms.ratios import clipped_surrogate, log_ratio, token_average


@dataclass(frozen=True)
class GSPO(Objective):
    """GRPO with one ratio per sequence, the geometric mean of those of its tokens.

        s_i = exp((1/|y_i|) sum_t d_t),  d_t = log pi(y_t) - log pi_old(y_t);    A = z-score
        loss = -(1/N) sum_i min(s_i A_i, clip(s_i, 1 - clip_low, 1 + clip_high) A_i)

    `token_level` is GSPO-token, which has s_it = sg[s_i] pi(y_t) / sg[pi(y_t)] in place of s_i, and the mean over
    tokens. It allows each token its own advantage; where all tokens of a sequence have the same one, value and gradient
    are those of GSPO. The clip range is three orders of magnitude below PPO's, since s is a mean. `bessel`: the std of
    a sample, as in TRL and verl. Raises ValueError for clip_low outside (0, 1) or clip_high <= 0.
    https://arxiv.org/abs/2507.18071
    """

    name = "gspo"
    paper = "https://arxiv.org/abs/2507.18071"
    sampler = "group"
    invariances = frozenset({"shift", "scale"})
    zero_variance_gradient = "none"

    clip_low: float = 3e-4
    clip_high: float = 4e-4
    token_level: bool = False
    bessel: bool = False

    def __post_init__(self):
        require(0 < self.clip_low < 1, "clip_low", self.clip_low, "in (0, 1)")
        require(self.clip_high > 0, "clip_high", self.clip_high, "> 0")

    @property
    def stop_gradient(self) -> bool:
        return self.token_level

    def loss(self, logp, batch: Batch) -> Loss:
        advantage = standardize(batch.score, batch.effective_weight, eps=1e-8, bessel=self.bessel).unsqueeze(-1)
        log_s = token_average(log_ratio(logp, batch), batch.mask).unsqueeze(-1)
        if self.token_level:
            log_s = log_s.detach() + (logp - logp.detach())
        loss = -clipped_surrogate(log_s.exp(), advantage, self.clip_low, self.clip_high)
        return seq_mean_token_mean(loss.expand_as(logp), batch.mask, batch.effective_weight), {}
