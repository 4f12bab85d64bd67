"""What one expected update does for the right action of a labelled context, by enumeration of what may be drawn."""

import torch
from torch import Tensor

from algorithms.base import Objective, log_softmax
from training.sampling import enumerated_batch, sampled_batch

BINS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the concentration


def surplus(objective: Objective, layout: str, logits: Tensor, labels: Tensor) -> Tensor:
    """First-order gain (N,) in pi(y|x) of the expected update, less what a one-vs-rest view of the task expects.

        gain = pi(y) (D_y - sum_c pi(c) D_c)        one-vs-rest = 2 pi(y) (1 - pi(y)) R_y

    D is the step on the logits (N,A) of contexts with right actions y (labels, (N,)), -d loss / d logits in expectation
    over the drawn action, with the baseline sum_c pi(c)^2. R is that of the right draws alone with no baseline, and all
    wrong actions count as one. https://arxiv.org/abs/2604.06159 (figure 4 b)
    """
    pi, right = logits.softmax(-1), torch.nn.functional.one_hot(labels, logits.shape[-1])
    expected = step(objective, layout, logits, labels, pi, pi.square().sum(-1))
    of_right = step(objective, layout, logits, labels, pi * right, torch.zeros_like(pi[:, 0]))
    pi_y = _of(pi, labels)
    return gain(pi, labels, expected) - 2 * pi_y * (1 - pi_y) * _of(of_right, labels)


def step(objective: Objective, layout: str, logits: Tensor, labels: Tensor, share: Tensor, baseline: Tensor) -> Tensor:
    """Sum over the actions, as often as share (N,A) says, of -d loss / d logits (N,A) after that action was drawn."""
    logits = logits.detach().requires_grad_()
    losses = _losses(objective, layout, log_softmax(logits), labels, baseline)
    return -torch.autograd.grad((share * losses).sum(), logits)[0]


def gain(pi: Tensor, labels: Tensor, step: Tensor) -> Tensor:
    """First-order gain (N,) in pi(y) of a step (N,A) on the logits: pi(y) (D_y - sum_c pi(c) D_c)."""
    return _of(pi, labels) * (_of(step, labels) - (pi * step).sum(-1))


def concentration(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which contexts are misclassified (N,), and max_{a != y} pi(a) / (1 - pi(y)) (N,)."""
    pi, y = logits.softmax(-1), labels.unsqueeze(-1)
    wrong = pi.scatter(-1, y, 0.0)
    return pi.argmax(-1) != labels, wrong.amax(-1) / wrong.sum(-1)


def by_concentration(objective: Objective, layout: str, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """{"surplus_1": (S,), ...}: mean surplus of the misclassified contexts in each bin; NaN where a bin is empty."""
    means = [_of_seed(objective, layout, one, labels) for one in logits.detach()]
    return {f"surplus_{i}": value for i, value in enumerate(torch.stack(means, dim=1), start=1)}


def _of_seed(objective: Objective, layout: str, logits: Tensor, labels: Tensor) -> Tensor:
    wrong, share = concentration(logits, labels)
    found = surplus(objective, layout, logits[wrong], labels[wrong])
    bins = torch.bucketize(share[wrong], torch.tensor(BINS[1:-1], device=logits.device), right=True)
    return torch.stack([found[bins == i].mean() for i in range(len(BINS) - 1)])


def _of(x: Tensor, labels: Tensor) -> Tensor:
    """x (N,A) at the right action: (N,)."""
    return x.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def _losses(objective: Objective, layout: str, log_pi: Tensor, labels: Tensor, baseline: Tensor) -> Tensor:
    """Loss (N,A) of each context (N,A) after each of its actions was drawn."""
    n, count = log_pi.shape
    arms = torch.arange(count, device=log_pi.device).repeat(n).view(-1, 1, 1)  # one context with one draw, N*A times
    reward = (arms == labels.repeat_interleave(count).view(-1, 1, 1)).to(log_pi.dtype).unsqueeze(-1)
    baseline = baseline.repeat_interleave(count).view(-1, 1, 1)
    logp = log_pi.unsqueeze(1).expand(-1, count, -1).reshape(-1, 1, count, 1)
    if layout == "enumerated_actions":
        batch = enumerated_batch(logp.detach(), arms, reward, baseline)
    else:
        logp = logp.gather(2, arms.unsqueeze(-1))
        batch = sampled_batch(logp.detach(), reward, baseline)
    return objective.loss(logp, batch)[0].view(n, count)
