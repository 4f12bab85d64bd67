"""The gradient of an objective on the log-prob of each token, for trainers that split groups over micro-batches."""

import torch
from torch import Tensor

from algorithms.base import Objective, require_finite, require_tensors, scored_completions

LEARNS_FROM_GROUPS = ("single", "group", "set")


def require_group_objective(objective: Objective) -> None:
    """Raise ValueError for an objective that needs more than scored groups of completions."""
    if objective.required_sampler not in LEARNS_FROM_GROUPS:
        raise ValueError(
            f"objective={objective.name}: needs {objective.required_sampler}, an engine has only scored groups of "
            f"completions"
        )


def token_weights(
    objective: Objective,
    logp: Tensor,
    logp_old: Tensor,
    score: Tensor,
    mask: Tensor,
    group_size: int,
    logp_ref: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Gradient of the loss on the log-prob of each token, and the metrics of the loss.

        g_nt = d loss / d logp_nt        so that sum_nt g_nt logp_nt has the gradient of the loss on the parameters

    A loss couples the completions of a group, but g is a number per token. So each micro-batch of any size adds the
    gradient of the sum of g * logp over its own rows, and together they add the gradient of the loss. It is exact as
    long as the parameters stay as they are between `logp` and the optimiser's step.

    logp (N,T)      log-probs under the current policy, in nats; no graph is needed
    logp_old (N,T)  the same under the policy that drew the completions
    score (N,)      score of each completion
    mask (N,T)      1 for a token, 0 for padding, at which g is 0
    group_size      completions per prompt, K; they follow one another, so N is a multiple of K
    logp_ref (N,T)  log-probs under the reference policy, for objectives that need one

    Raises ValueError for shapes that do not fit, for a score that is not finite, and for an objective that needs more
    than scored groups or lacks its reference.
    """
    if not isinstance(objective, Objective):
        raise ValueError(f"objective={objective}: must be an objective, such as suite.objective('tpo')")
    require_group_objective(objective)
    _check_shapes(logp, logp_old, score, mask, group_size, logp_ref)
    require_finite(score)
    if objective.needs_reference and logp_ref is None:
        raise ValueError(f"objective={objective.name}: needs logp_ref, the log-probs under a reference policy")
    shape, given = (-1, group_size, logp.shape[1]), (logp_old, mask, logp_ref)
    old, mask, ref = (None if x is None else x.detach().to(logp.dtype).view(shape) for x in given)
    leaf = logp.detach().reshape(shape).masked_fill(mask == 0, 0).requires_grad_()
    with torch.enable_grad():
        loss, metrics = objective.loss(leaf, scored_completions(old, score.to(leaf.dtype).view(shape[:2]), mask, ref))
        (grad,) = torch.autograd.grad(loss, leaf)
    return (grad * mask).view(logp.shape), {"loss": loss.detach()} | {k: v.detach() for k, v in metrics.items()}


def _check_shapes(logp, logp_old, score, mask, group_size, logp_ref) -> None:
    require_tensors(logp=logp, logp_old=logp_old, score=score, mask=mask)
    if logp.dim() != 2 or not logp.numel():
        raise ValueError(f"logp has shape {tuple(logp.shape)}: must be (N,T), with a row for each completion")
    rows = logp.shape[0]
    if type(group_size) is not int or group_size < 2 or rows % group_size:
        raise ValueError(f"group_size={group_size}: must be at least 2 and divide the {rows} completions")
    wanted = {"logp_old": (logp_old, logp.shape), "mask": (mask, logp.shape), "score": (score, logp.shape[:1])}
    wanted |= {"logp_ref": (logp_ref, logp.shape)} if logp_ref is not None else {}
    for name, (tensor, shape) in wanted.items():
        if tensor.shape != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}: must be {tuple(shape)}, as logp is")
