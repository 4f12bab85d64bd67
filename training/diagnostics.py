"""What a rollout and its update look like from inside, for train.diagnostics=true."""

import torch
from torch import Tensor

from training.sampling import Rollout


def of_first_epoch(rollout: Rollout, grad_norm: Tensor, grad: Tensor) -> dict[str, Tensor]:
    """{name: (S,)} for the gradient norm (S,) over all parameters and the gradient (S,B,K,T) on the log-probs.

    grad_norm            |d loss / d theta|
    zero_variance_share  groups whose scores are all equal
    entropy              -log pi_old per token, mean over what was drawn, in nats
    all_fail_share       groups without a success, where the task knows successes; with them also
    success_share        prompts with a success
    weight_success       mean over successful candidates, and weight_failure over the others, of
                         -d(sum of the contexts' losses) / d log pi(y_t), the pull on a token (0 where there are none)
    """
    batch = rollout.batch
    equal = batch.score.amax(-1) == batch.score.amin(-1)
    found = {
        "grad_norm": grad_norm,
        "zero_variance_share": equal.float().mean(-1).expand(grad_norm.shape),
        "entropy": -_mean(_per_token(batch.logp_old, batch.mask), batch.weight),
    }
    if rollout.success is None:
        return found
    success, prompts = rollout.success, rollout.equal.shape[1]
    pull = -_per_token(grad, batch.mask) * grad.shape[1]
    return found | {
        "all_fail_share": (~success.any(-1)).float().mean(-1),
        "success_share": success.view(len(success), prompts, -1).any(-1).float().mean(-1),
        "weight_success": _mean(pull, success),
        "weight_failure": _mean(pull, ~success),
    }


def of_update(rollout: Rollout, logp: Tensor) -> dict[str, Tensor]:
    """{"kl": (S,)}: KL(pi_old, pi) per token after the update, as the mean of e^d - 1 - d, d = log pi - log pi_old."""
    d = logp.detach() - rollout.batch.logp_old
    return {"kl": _mean(_per_token(d.expm1() - d, rollout.batch.mask), rollout.batch.weight)}


def _per_token(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens that count: (S,B,K,T) -> (S,B,K)."""
    mask = mask.expand_as(x)
    return (x * mask).sum(-1) / mask.sum(-1)


def _mean(x: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean (S,) of x (S,B,K); 0 where nothing weighs."""
    weight = weight.to(x.dtype).expand(x.shape)
    return (x * weight).sum((-1, -2)) / weight.sum((-1, -2)).clamp_min(torch.finfo(x.dtype).tiny)
