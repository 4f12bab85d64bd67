"""Our losses beside those of TRL and verl, on the same log-probs and rewards: docs/engines.yaml says which and how.

TRL and verl are in an environment of their own: make test-engines.
"""

from collections import defaultdict
from importlib import import_module
from importlib.metadata import version

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch.testing import assert_close

from algorithms.base import Batch
from docs.sections import engines, objective_of
from tests.helpers import change, gradient, random_batch, tensors

pytestmark = pytest.mark.engines
GROUPS, K, T = 3, 4, 6
ENGINES = engines()
EXACT = {"rtol": 1e-6, "atol": 1e-9}
# TRL adds 1e-4 to the standard deviation of a group, which is above 0.5 here
CLOSE = {"rtol": 2e-4, "atol": 1e-9}


def cases(engine: str) -> list:
    """A pytest parameter for each method and each kind of batch on which it must agree."""
    methods = ENGINES[engine].methods
    flats = {name: (False,) if case.get("contrast") else (False, True) for name, case in methods.items()}
    return [
        pytest.param(name, flat, id=f"{name}-{'flat' if flat else 'contrast'}")
        for name in methods
        for flat in flats[name]
    ]


def inputs(sampler: str, flat: bool, on_policy: bool = False) -> tuple[torch.Tensor, Batch]:
    """Log-probs whose ratios lie on both sides of every clip, and a batch; `flat`: the first group has equal scores."""
    logp, batch = random_batch(GROUPS, K, T)
    logp = batch.logp_old if on_policy else (batch.logp_old + 8 * (logp - batch.logp_old)).clamp(max=-0.01)
    if flat:
        batch = change(batch, score=torch.cat([torch.full_like(batch.score[:1], 0.3), batch.score[1:]]))
    assert flat or (batch.score.std(-1) > 0.5).all()
    if sampler == "single":
        flattened = {name: value.reshape(GROUPS * K, 1, *value.shape[2:]) for name, value in tensors(batch).items()}
        return logp.reshape(GROUPS * K, 1, T), Batch(**flattened)
    return logp, batch


def rows(x: torch.Tensor) -> torch.Tensor:
    """(B,K,T) -> (B*K,T), as both libraries lay out a batch."""
    return x.reshape(GROUPS * K, T)


def check(objective, logp, batch, theirs, tolerance, gradient_only: bool = False) -> None:
    """`theirs` is a function of the log-probs (B*K,T)."""
    leaf = rows(logp).clone().requires_grad_()
    loss = theirs(leaf)
    (found,) = torch.autograd.grad(loss, leaf)
    expected = rows(gradient(objective, logp, batch))
    assert expected.abs().max() > 1e-3
    assert_close(expected, found, **tolerance)
    if not gradient_only:
        assert_close(objective.loss(logp, batch)[0], loss.detach().to(logp.dtype), **tolerance)


@pytest.mark.parametrize("engine", ENGINES)
def test_versions_are_those_that_the_table_names(engine):
    assert version(engine) == ENGINES[engine].version


def trl_trainer(there: dict):
    """A trainer of TRL with the attributes that its loss reads, from its own configuration."""
    from accelerate import Accelerator

    there = dict(there)
    name = there.pop("trainer", "GRPOTrainer")
    module = import_module("trl.experimental.gmpo" if name == "GMPOTrainer" else "trl")
    cls, config = getattr(module, name), getattr(module, name.replace("Trainer", "Config"))
    args = config(output_dir="unused", use_cpu=True, bf16=False, report_to="none", **there)
    trainer = object.__new__(cls)
    for key in ("beta", "loss_type", "importance_sampling_level", "top_entropy_quantile", "off_policy_mask_threshold"):
        setattr(trainer, key, getattr(args, key, None))
    trainer.args, trainer.epsilon_low = args, args.epsilon
    trainer.epsilon_high = args.epsilon if args.epsilon_high is None else args.epsilon_high
    trainer.max_completion_length = T
    trainer.use_vllm = trainer.aux_loss_enabled = trainer._entropy_bonus_enabled = False
    trainer.accelerator = Accelerator(cpu=True)
    trainer.model = torch.nn.Module().eval()
    trainer._metrics = {"eval": defaultdict(list)}
    trainer._get_per_token_logps_and_entropies = lambda model, *args, **kwargs: (model, torch.zeros_like(model), None)
    return trainer


def trl_advantage(trainer, score: torch.Tensor, eps: float) -> torch.Tensor:
    """A (B*K,) as TRL's trainers compute it; `eps` beside the standard deviation is 1e-4 in TRL."""
    if type(trainer).__name__ == "RLOOTrainer":
        return (score - (score.sum(-1, keepdim=True) - score) / (K - 1)).flatten()
    advantage = score - score.mean(-1, keepdim=True)
    scaled = trainer.args.scale_rewards != "none"
    return (advantage / (score.std(-1, keepdim=True) + eps) if scaled else advantage).flatten()


@pytest.mark.parametrize(("eps", "tolerance"), [(1e-8, EXACT), (1e-4, CLOSE)], ids=["same advantage", "TRL's eps"])
@pytest.mark.parametrize(("name", "flat"), cases("trl"))
def test_trl_has_the_same_loss_and_gradient(name, flat, eps, tolerance):
    case = ENGINES["trl"].methods[name]
    objective, on_policy = objective_of(name, case.get("here")), case.get("on_policy", False)
    logp, batch = inputs(objective.sampler, flat, on_policy)
    trainer = trl_trainer(case.there)
    mask, none = rows(batch.mask), torch.zeros(GROUPS * K, 0)
    given = {
        "prompt_ids": none,
        "prompt_mask": none,
        "completion_ids": mask,
        "completion_mask": mask,
        "advantages": trl_advantage(trainer, batch.score, eps),
        "old_per_token_logps": rows(batch.logp_old),
        "ref_per_token_logps": rows(batch.logp_ref),
        "old_logps": rows(batch.logp_old * batch.mask).sum(-1),
        "num_items_in_batch": mask.sum(),
    }
    check(objective, logp, batch, lambda leaf: trainer._compute_loss(leaf, given), tolerance, on_policy)


def verl_settings(there: dict) -> tuple:
    """What the table sets, as verl's configurations of an actor and of an algorithm."""
    from verl.trainer.config import AlgoConfig
    from verl.workers.config import ActorConfig, PolicyLossConfig

    def of(cls):
        return {key: value for key, value in there.items() if key in cls.__dataclass_fields__}

    policy_loss = PolicyLossConfig(**of(PolicyLossConfig))
    actor = ActorConfig(strategy="fsdp", rollout_n=K, use_dynamic_bsz=True, policy_loss=policy_loss, **of(ActorConfig))
    return actor, AlgoConfig(**of(AlgoConfig))


def verl_advantage(algorithm, batch: Batch) -> torch.Tensor:
    """A (B*K,T) from verl's estimator; its epsilon beside the standard deviation is set to ours."""
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    mask = rows(batch.mask)
    last = (mask.cumsum(-1) == mask.sum(-1, keepdim=True)) & (mask > 0)
    score = batch.score.flatten().unsqueeze(-1) * last
    settings = {"config": algorithm, "norm_adv_by_std_in_grpo": algorithm.norm_adv_by_std_in_grpo, "epsilon": 1e-8}
    index = np.repeat(np.arange(GROUPS), K)
    estimator = get_adv_estimator_fn(algorithm.adv_estimator)
    return estimator(token_level_rewards=score, response_mask=mask, index=index, **settings)[0]


@pytest.mark.parametrize(("name", "flat"), cases("verl"))
def test_verl_has_the_same_loss_and_gradient(name, flat):
    from verl.trainer.ppo.core_algos import agg_loss, get_policy_loss_fn, kl_penalty

    case = ENGINES["verl"].methods[name]
    objective = objective_of(name, case.get("here"))
    logp, batch = inputs(objective.sampler, flat)
    actor, algorithm = verl_settings(OmegaConf.to_container(case.there))
    advantage = rows(batch.advantage) if case.there.adv_estimator is None else verl_advantage(algorithm, batch)
    policy_loss, mode, mask = get_policy_loss_fn(actor.policy_loss.loss_mode), actor.loss_agg_mode, rows(batch.mask)

    def theirs(leaf):
        loss = policy_loss(rows(batch.logp_old), leaf, advantage, mask, loss_agg_mode=mode, config=actor)[0]
        if not actor.use_kl_loss:
            return loss
        penalty = kl_penalty(leaf, rows(batch.logp_ref), actor.kl_loss_type)
        return loss + actor.kl_loss_coef * agg_loss(penalty, mask, mode)

    check(objective, logp, batch, theirs, EXACT)
