"""The surplus gain of one expected update, on the misclassified contexts of a labelled task."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from algorithms.base import Objective, log_softmax
from envs.base import Env
from training.observers.base import Metrics, Observer
from training.rollout import Rollout
from training.samplers.actions import enumerated_batch, sampled_batch

BIN_EDGES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the concentration


class SurplusGain(Observer):
    """Records `surplus_by_concentration` of the policy after each recorded step, on the held-out contexts."""

    @staticmethod
    def is_defined(env: Env, objective: Objective) -> bool:
        """Whether the task has labelled contexts, and the loss of each draw does not depend on the other draws."""
        independent = objective.sampler in ("single", "set") and objective.baseline == "env"
        return independent and env.labelled_contexts() is not None

    def __init__(self, env: Env, objective: Objective, sampler_name: str):
        self.objective, self.sampler_name = objective, sampler_name
        self.features, self.labels = env.labelled_contexts()

    def on_step_end(self, trainer, rollout: Rollout) -> Metrics:
        features, labels = self.features.to(trainer.noise.device), self.labels.to(trainer.noise.device)
        with torch.no_grad():
            logits = trainer.policy.logits(features)
        return surplus_by_concentration(self.objective, self.sampler_name, logits, labels)


def surplus_by_concentration(
    objective: Objective, sampler_name: str, logits: Tensor, labels: Tensor
) -> dict[str, Tensor]:
    """{"surplus_1": (S,), ...}: mean surplus gain of the misclassified contexts in each bin; NaN for an empty bin."""
    means = [_bin_means(objective, sampler_name, one, labels) for one in logits.detach()]
    return {f"surplus_{i}": value for i, value in enumerate(torch.stack(means, dim=1), start=1)}


def _bin_means(objective: Objective, sampler_name: str, logits: Tensor, labels: Tensor) -> Tensor:
    wrong, share = concentration(logits, labels)
    found = surplus_gain(objective, sampler_name, logits[wrong], labels[wrong])
    bins = torch.bucketize(share[wrong], torch.tensor(BIN_EDGES[1:-1], device=logits.device), right=True)
    return torch.stack([found[bins == i].mean() for i in range(len(BIN_EDGES) - 1)])


def concentration(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Misclassified contexts (N,), and the concentration max_{a != y} pi(a) / (1 - pi(y)) of each context (N,)."""
    pi, y = logits.softmax(-1), labels.unsqueeze(-1)
    wrong = pi.scatter(-1, y, 0.0)
    return pi.argmax(-1) != labels, wrong.amax(-1) / wrong.sum(-1)


def surplus_gain(objective: Objective, sampler_name: str, logits: Tensor, labels: Tensor) -> Tensor:
    """First-order gain (N,) in pi(y|x) of the expected update, minus the gain that a one-vs-rest view expects.

        gain = pi(y) (D_y - sum_c pi(c) D_c)        one-vs-rest = 2 pi(y) (1 - pi(y)) R_y

    y (labels, (N,)) are the right actions of N contexts with logits (N,A). D is -d loss / d logits, in expectation over
    the drawn action, with the baseline sum_c pi(c)^2. R is the part of D that comes from right draws, without a
    baseline. One-vs-rest counts all wrong actions as one. https://arxiv.org/abs/2604.06159 (figure 4 b)
    """
    pi, right = logits.softmax(-1), one_hot(labels, logits.shape[-1])
    expected = expected_step(objective, sampler_name, logits, labels, pi, pi.square().sum(-1))
    from_right = expected_step(objective, sampler_name, logits, labels, pi * right, torch.zeros_like(pi[:, 0]))
    pi_y = _at_label(pi, labels)
    return first_order_gain(pi, labels, expected) - 2 * pi_y * (1 - pi_y) * _at_label(from_right, labels)


def expected_step(
    objective: Objective, sampler_name: str, logits: Tensor, labels: Tensor, weight: Tensor, baseline: Tensor
) -> Tensor:
    """Sum over the actions, weighted by `weight` (N,A), of -d loss / d logits (N,A) after that action was drawn."""
    logits = logits.detach().requires_grad_()
    losses = _losses(objective, sampler_name, log_softmax(logits), labels, baseline)
    return -torch.autograd.grad((weight * losses).sum(), logits)[0]


def first_order_gain(pi: Tensor, labels: Tensor, step: Tensor) -> Tensor:
    """First-order gain (N,) in pi(y) of a step (N,A) on the logits: pi(y) (D_y - sum_c pi(c) D_c)."""
    return _at_label(pi, labels) * (_at_label(step, labels) - (pi * step).sum(-1))


def _at_label(x: Tensor, labels: Tensor) -> Tensor:
    """x (N,A) at the right action: (N,)."""
    return x.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def _losses(objective: Objective, sampler_name: str, log_pi: Tensor, labels: Tensor, baseline: Tensor) -> Tensor:
    """Loss (N,A) of each context (N,A) after each of its actions was drawn."""
    n, count = log_pi.shape
    actions = torch.arange(count, device=log_pi.device).repeat(n).view(-1, 1, 1)  # N*A times one context with one draw
    reward = (actions == labels.repeat_interleave(count).view(-1, 1, 1)).to(log_pi.dtype).unsqueeze(-1)
    baseline = baseline.repeat_interleave(count).view(-1, 1, 1)
    logp = log_pi.unsqueeze(1).expand(-1, count, -1).reshape(-1, 1, count, 1)
    if sampler_name == "enumerated_actions":
        batch = enumerated_batch(logp.detach(), actions, reward, baseline)
    else:
        logp = logp.gather(2, actions.unsqueeze(-1))
        batch = sampled_batch(logp.detach(), reward, baseline)
    return objective.loss(logp, batch)[0].view(n, count)
