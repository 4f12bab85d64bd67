"""losses.npz: values and gradients of the objectives on recorded inputs."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from algorithms.base import Batch, Objective, log_softmax, softmax, standardize
from algorithms.dg import DG
from algorithms.group_pg import GroupPG
from algorithms.grpo import GRPO
from algorithms.pg import PG
from algorithms.ppo import PPO
from algorithms.tpo import TPO
from reference import Check

TOLERANCE = 1e-5
GROUP = {
    "tpo_loss": TPO(),
    "tpo_no_anchor_loss": TPO(anchor=False),
    "group_pg_loss": GroupPG(),
    "grpo_loss": GRPO(clip_eps=0.2, beta=0.04),
    "grpo_no_kl_loss": GRPO(clip_eps=0.2, beta=0.0),
}
TOKEN = {
    "ppo_loss": PPO(clip_eps=0.2),
    "reinforce_loss": PG(),
    "dg_loss_eta1.0": DG(eta=1.0),
    "dg_loss_eta0.5": DG(eta=0.5),
}
BANDIT = {"pg": PG(), "dg": DG(), "tpo": TPO(), "group_pg": GroupPG(), "grpo": GRPO()}


def replay(data: dict[str, np.ndarray]) -> Iterator[Check]:
    """Yield (name, ours, theirs, tolerance) for every quantity of the file."""
    tensors = {key: torch.as_tensor(value) for key, value in data.items()}
    yield from _targets(tensors, data)
    for name, objective in GROUP.items():
        yield from _compare(name, *_group(objective, tensors), data)
    for name, objective in TOKEN.items():
        yield from _compare(name, *_token(objective, tensors), data)
    for name, objective in BANDIT.items():
        value, grad = _bandit(objective, tensors)
        if name == "grpo":
            # the release's is REINFORCE on standardised rewards: GRPO's gradient at pi_old, but not its value
            rewards = standardize(tensors["bandit_rewards"], eps=1e-8)
            value, _ = _bandit(PG(), tensors | {"bandit_rewards": rewards}, baseline=0.0)
        yield from _compare(f"bandit_{name}", value, grad, data)


def _compare(name: str, value: Tensor, grad: Tensor, data: dict[str, np.ndarray]) -> Iterator[Check]:
    yield f"{name}_value", value.detach().numpy(), data[f"{name}_value"], TOLERANCE
    yield f"{name}_grad", grad.numpy(), data[f"{name}_grad"], TOLERANCE


def _targets(t: dict[str, Tensor], data: dict[str, np.ndarray]) -> Iterator[Check]:
    u = standardize(t["scores"], floor=TPO().std_floor)
    yield "standardized_scores", u.numpy(), data["standardized_scores"], TOLERANCE
    group_advantages = standardize(t["scores"], eps=1e-8)
    yield "group_advantages", group_advantages.numpy(), data["group_advantages"], TOLERANCE
    for eta in (1.0, 0.5):
        # the target is where the gradient p - q of the loss vanishes: q = p - grad, at one context
        yield f"tpo_target_eta{eta}", _target(TPO(eta=eta), t).numpy(), data[f"tpo_target_eta{eta}"], TOLERANCE
    yield "tpo_target_no_anchor", _target(TPO(anchor=False), t).numpy(), data["tpo_target_no_anchor"], TOLERANCE


def _target(objective: TPO, t: dict[str, Tensor]) -> Tensor:
    _, grad = _group(objective, t)
    return softmax(t["new_log_prob"]) - grad * len(grad)


def _group(objective: Objective, t: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """One token per candidate; (5, 6) is contexts x candidates, each drawn once."""
    one = torch.ones(1)
    old, score = t["old_log_prob"].unsqueeze(-1), t["scores"]
    return _value_and_grad(
        objective, t["new_log_prob"], Batch(old, score.unsqueeze(-1), 0 * one, one, score, one.expand(score.shape))
    )


def _token(objective: Objective, t: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """One rollout per context; (5, 4) is contexts x tokens, with recorded advantages as rewards."""
    one, reward = torch.ones(1), t["token_advantages"].unsqueeze(1)
    batch = Batch(
        t["token_old_log_prob"].unsqueeze(1), reward, 0 * one, one, reward.sum(-1), one.expand(reward.shape[:-1])
    )
    return _value_and_grad(objective, t["token_new_log_prob"], batch, lambda logp: logp.unsqueeze(1))


def _bandit(objective: Objective, t: dict[str, Tensor], baseline: float | None = None) -> tuple[Tensor, Tensor]:
    """Images as contexts, classes as candidates, one drawn; the baseline is sum pi^2, a "group" the whole batch."""
    actions, logits = t["bandit_actions"].unsqueeze(-1), t["bandit_logits"]
    logp, one = log_softmax(logits), torch.ones(1)
    reward = t["bandit_rewards"].unsqueeze(-1)
    baseline = logp.exp().square().sum(-1, keepdim=True) if baseline is None else torch.full_like(reward, baseline)
    if objective.sampler == "set":
        drawn = torch.zeros_like(logits).scatter(-1, actions, 1.0)
        score = drawn * (reward - baseline)
        batch = Batch(logp.unsqueeze(-1), score.unsqueeze(-1), 0 * one, one, score, drawn)
        return _value_and_grad(objective, logits, batch, lambda x: log_softmax(x).unsqueeze(-1))
    old = logp.gather(-1, actions).view(1, -1, 1)
    share = torch.full(old.shape[:-1], 1 / len(actions))
    batch = Batch(old, reward.view(1, -1, 1), baseline.view(1, -1, 1), one, reward.view(1, -1), share)
    return _value_and_grad(objective, logits, batch, lambda x: log_softmax(x).gather(-1, actions).view(1, -1, 1))


def _value_and_grad(
    objective: Objective, x: Tensor, batch: Batch, logp=lambda x: x.unsqueeze(-1)
) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    value, _ = objective.loss(logp(x), batch)
    (grad,) = torch.autograd.grad(value, x)
    return value, grad
