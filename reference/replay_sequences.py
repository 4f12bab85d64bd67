"""transformer.npz, muon.npz and updates.npz: the model, the optimiser, and whole updates through the real code.

Replayed in float64: Adam turns a gradient of 1e-8, near its eps, into a step, so that float32 rounding of either side
shows up to 6e-5 in the value kernels.
"""

from collections.abc import Iterator

import numpy as np
import torch

from algorithms.base import Batch, Objective
from algorithms.dg import DG
from algorithms.group_pg import GroupPG
from algorithms.grpo import GRPO
from algorithms.pg import PG
from algorithms.ppo import PPO
from algorithms.tpo import TPO
from models.transformer import Transformer
from reference import Check
from reference.flax import load, tensor
from training.muon import MuonAdamW, MuonConfig
from training.rollout import Rollout
from training.samplers.answers import answer_rollout, token_rollout

ALIVE = torch.ones(1, dtype=torch.bool)
LOG_PROBS, PARAMETERS, OPTIMISER, AFTER = 1e-5, 2e-5, 1e-5, 1e-4
# on the first epoch these three have one gradient, whose value kernels reach down to Adam's eps
SENSITIVE, VALUE_KERNELS = ("group_pg", "grpo", "grpo_no_kl"), 1e-4


def replay_transformer(data: dict[str, np.ndarray]) -> Iterator[Check]:
    with torch.no_grad():
        yield "log_probs", load(data, "param")(tensor(data, "tokens"))[0].numpy(), data["log_probs"], LOG_PROBS


def replay_muon(data: dict[str, np.ndarray]) -> Iterator[Check]:
    names = [key.removeprefix("initial/") for key in data if key.startswith("initial/")]
    params = {name: torch.nn.Parameter(tensor(data, f"initial/{name}")) for name in names}
    shaped = [(p, tuple(p.shape[1:])) for p in params.values()]
    optimizer = MuonAdamW(shaped, float(data["learning_rate"]), MuonConfig().momentum)
    for step in range(sum(key.startswith("grad") and key.endswith(names[0]) for key in data)):
        for name, p in params.items():
            p.grad = tensor(data, f"grad{step}/{name}")
        optimizer.step(ALIVE, optimizer.grad_norm())
        for name, p in params.items():
            yield f"after{step}/{name}", p.detach()[0].numpy(), data[f"after{step}/{name}"], OPTIMISER


def replay_updates(data: dict[str, np.ndarray]) -> Iterator[Check]:
    """A fresh optimiser, the epochs of each method, and every parameter afterwards but the key biases."""
    grpo = {"clip_eps": float(data["clip_epsilon"])}
    full, single = _full(data), _single(data)
    kl = float(data["kl_beta"])
    yield from _update("tpo", TPO(), full, data)
    yield from _update("tpo_no_anchor", TPO(anchor=False), full, data)
    yield from _update("group_pg", GroupPG(), full, data)
    yield from _update("grpo", GRPO(**grpo, beta=kl), full, data)
    yield from _update("grpo_no_kl", GRPO(**grpo, beta=0.0), full, data)
    yield from _update("ppo", PPO(**grpo), single, data)
    yield from _update("dg", DG(), single, data)
    yield from _update("reinforce", PG(), single, data)
    for reward in ("bag_of_tokens", "sequential"):
        tokens = _tokens(data, reward)
        yield from _update(f"tpo_token_{reward}", TPO(), tokens, data)
        yield from _update(f"grpo_token_{reward}", GRPO(**grpo, beta=kl), tokens, data)


def _full(data: dict[str, np.ndarray]) -> Rollout:
    prompts, answers = tensor(data, "prompts"), tensor(data, "actions")
    return answer_rollout(prompts, answers, tensor(data, "old_token_log_probs"), tensor(data, "rewards"))


def _single(data: dict[str, np.ndarray]) -> Rollout:
    answers, old, reward = (
        tensor(data, f"single_{key}").unsqueeze(2) for key in ("actions", "old_log_probs", "rewards")
    )
    return answer_rollout(tensor(data, "prompts"), answers, old, reward)


def _tokens(data: dict[str, np.ndarray], reward: str) -> Rollout:
    tokens = tensor(data, "candidate_actions")
    old, scores = tensor(data, "candidate_old_log_probs"), tensor(data, f"candidate_rewards_{reward}")
    return token_rollout(tensor(data, "prompts"), tokens, old, scores)


def _update(name: str, objective: Objective, rollout: Rollout, data: dict[str, np.ndarray]) -> Iterator[Check]:
    policy, theirs = load(data, "before"), load(data, f"after_{name}")
    optimizer = MuonConfig(lr=float(data["learning_rate"])).build(policy)
    for _ in range(objective.epochs):
        loss, _ = objective.loss(rollout.logp(policy), _double(rollout.batch))
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step(ALIVE, optimizer.grad_norm())
    values = VALUE_KERNELS if name in SENSITIVE else PARAMETERS
    yield f"{name} parameters", _flat(policy, False), _flat(theirs, False), PARAMETERS
    yield f"{name} value kernels", _flat(policy, True), _flat(theirs, True), values
    with torch.no_grad():
        yield f"{name} log-probs", rollout.logp(policy).numpy(), rollout.logp(theirs).numpy(), AFTER


def _double(batch: Batch) -> Batch:
    return Batch(**{key: value.double() for key, value in vars(batch).items() if value is not None})


def _flat(policy: Transformer, value_kernels: bool) -> np.ndarray:
    """All value kernels, or all other parameters but the key biases, which no log-prob depends on."""
    kept = {n: p for n, p in policy.named_parameters() if n.endswith("value/kernel") == value_kernels}
    return torch.cat([p.flatten() for n, p in kept.items() if not n.endswith("key/bias")]).detach().numpy()
