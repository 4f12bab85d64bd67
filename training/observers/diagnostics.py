"""Diagnostics of a rollout and of its update, for train.diagnostics=true."""

import torch
from torch import Tensor

from training.gradient import split_policy
from training.observers.base import Metrics, Observer
from training.rollout import Rollout, equal_scores


class Diagnostics(Observer):
    """Records `gradient_diagnostics` in the first epoch and `update_diagnostics` after the last one."""

    def on_first_gradient(self, trainer, rollout, logp, grad_norm, objective_metrics) -> Metrics:
        return gradient_diagnostics(rollout, grad_norm, logp.grad)

    @torch.no_grad()
    def on_step_end(self, trainer, rollout: Rollout) -> Metrics:
        policy = split_policy(trainer.policy, trainer.cfg.micro_batch)
        return update_diagnostics(rollout, rollout.logp(policy))


def gradient_diagnostics(rollout: Rollout, grad_norm: Tensor, grad: Tensor) -> dict[str, Tensor]:
    """Metrics {name: (S,)} of a rollout and of the gradient (S,B,K,T) of its loss on the log-probs.

    grad_norm            |d loss / d theta| over all parameters
    zero_variance_share  share of groups whose scores are all equal
    entropy              mean of -log pi_old per token over the drawn candidates, in nats

    Where the task knows which candidates are right, also:

    all_fail_share       share of groups without a right candidate
    success_share        share of prompts with a right candidate
    weight_success       mean over right candidates of -d(sum of the contexts' losses) / d log pi(y_t); 0 where there is
                         no right candidate
    weight_failure       the same mean over wrong candidates
    """
    batch = rollout.batch
    tokens = (batch.mask * batch.weight.unsqueeze(-1)).expand_as(batch.logp_old)
    found = {
        "grad_norm": grad_norm,
        "zero_variance_share": equal_scores(batch).float().mean(-1).expand(grad_norm.shape),
        "entropy": -(batch.logp_old * tokens).sum((-1, -2, -3)) / tokens.sum((-1, -2, -3)),
    }
    if rollout.success is None:
        return found
    success, prompts = rollout.success, rollout.identical.shape[1]
    weight = -_token_mean(grad, batch.mask) * grad.shape[1]
    return found | {
        "all_fail_share": (~success.any(-1)).float().mean(-1),
        "success_share": success.view(len(success), prompts, -1).any(-1).float().mean(-1),
        "weight_success": _weighted_mean(weight, success),
        "weight_failure": _weighted_mean(weight, ~success),
    }


def update_diagnostics(rollout: Rollout, logp: Tensor) -> dict[str, Tensor]:
    """{"kl": (S,)}: KL(pi_old, pi) per token after the update.

    It is the mean of e^d - 1 - d, d = log pi - log pi_old, over the tokens of each candidate and then over candidates.
    """
    d = logp.detach() - rollout.batch.logp_old
    return {"kl": _weighted_mean(_token_mean(d.expm1() - d, rollout.batch.mask), rollout.batch.weight)}


def _token_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the unmasked tokens of each candidate: (S,B,K,T) -> (S,B,K)."""
    mask = mask.expand_as(x)
    return (x * mask).sum(-1) / mask.sum(-1)


def _weighted_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean (S,) of x (S,B,K); 0 where all weights are 0."""
    weight = weight.to(x.dtype).expand(x.shape)
    return (x * weight).sum((-1, -2)) / weight.sum((-1, -2)).clamp_min(torch.finfo(x.dtype).tiny)
