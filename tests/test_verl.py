"""Objectives inside verl: its own functions, with ours registered, give the gradient of the whole loss."""

import importlib
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from algorithms.tpo import TPO
from tests.helpers import ROOT
from tests.test_token_weights import FROM_GROUPS, B, completions, whole_gradient

pytestmark = pytest.mark.engines
K = 4
PAGE = (ROOT / "docs" / "engines.md").read_text().partition("verl.trainer.main_ppo")[2].partition("\n\n")[0]
# the settings of the command on the page, without the files that are left open there
EXACT = dict(word.split("=") for word in PAGE.split() if word != "\\" and not word.endswith("=..."))


def verl_of(module: str):
    """A module of verl, after the one that adds the suite's objectives to it."""
    importlib.import_module("engines.verl")
    return importlib.import_module(f"verl.{module}")


def rollout(uids, old, ref, mask, score):
    reward = torch.zeros_like(mask).scatter(1, mask.long().sum(1, keepdim=True) - 1, score.unsqueeze(1))
    tensors = {"old_log_probs": old, "ref_log_prob": ref, "response_mask": mask, "token_level_rewards": reward}
    return verl_of("protocol").DataProto.from_dict(tensors=tensors, non_tensors={"uid": np.array(uids, dtype=object)})


@pytest.mark.parametrize("name", FROM_GROUPS)
def test_micro_batches_of_two_processes_add_the_gradient_of_the_whole_loss(name):
    """verl shuffles the answers, splits them over processes and micro-batches, and averages over processes."""
    algos = verl_of("trainer.ppo.core_algos")
    weight, logp, _, ref, mask, score = completions(K)
    old = logp().detach()  # verl takes one step on the policy that drew the answers
    expected = whole_gradient(FROM_GROUPS[name], weight, logp, old, ref, mask, score, K)
    order = torch.randperm(B * K, generator=torch.Generator().manual_seed(2))
    uids = [f"prompt {i // K}" for i in order]
    data = rollout(uids, *(x[order] for x in (old, ref, mask, score)))
    compute_advantage = verl_of("trainer.ppo.ray_trainer").compute_advantage
    advantages = compute_advantage(data, adv_estimator=f"suite.{name}", config=None).batch["advantages"]
    loss_of = algos.get_policy_loss_fn("token_weights")
    info = {"dp_size": 2, "batch_num_tokens": mask.sum(), "global_batch_size": B * K, "loss_scale_factor": None}
    config = SimpleNamespace(global_batch_info=info)
    for process in torch.arange(B * K).chunk(2):
        for rows in process.split(4):
            drawn = order[rows]
            loss, _ = loss_of(
                old_log_prob=old[drawn],
                log_prob=logp(drawn),
                advantages=advantages[rows],
                response_mask=mask[drawn].bool(),
                loss_agg_mode="token-sum",
                config=config,
                rollout_is_weights=None,
            )
            (loss / 2).backward()
    assert_close(weight.grad, expected, atol=1e-12, rtol=1e-10)


def test_an_objective_of_ones_own_can_be_registered():
    ours = verl_of("trainer.ppo.core_algos") and importlib.import_module("engines.verl")
    ours.register("sharp", TPO(eta=0.5))
    assert ours.objective_of("suite.sharp") == TPO(eta=0.5) and ours.objective_of("suite.tpo") == TPO()
    with pytest.raises(ValueError, match=r"algorithm.adv_estimator=suite.tpoo: must be suite\. and one of .*tpo"):
        ours.objective_of("suite.tpoo")


def test_groups_of_different_sizes_are_refused():
    *_, old, ref, mask, score = completions(K)
    data = rollout(["a"] * 5 + ["b"] * 7, old, ref, mask, score)
    with pytest.raises(ValueError, match="prompts have 5 to 7 answers"):
        verl_of("trainer.ppo.ray_trainer").compute_advantage(data, adv_estimator="suite.tpo", config=None)


def composed(settings):
    from hydra import compose, initialize_config_module

    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", [f"{key}={value}" for key, value in settings.items()])


def test_the_configuration_of_the_page_passes():
    verl_of("utils.config")
    importlib.import_module("engines.verl").require_exact(composed(EXACT))


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("algorithm.adv_estimator", "suite.nothing", "algorithm.adv_estimator=suite.nothing: must be"),
        ("algorithm.adv_estimator", "suite.remax", "objective=remax: needs greedy"),
        ("algorithm.adv_estimator", "suite.grpo_published", "actor.use_kl_loss=False: must be True"),
        ("actor_rollout_ref.actor.ppo_mini_batch_size", 64, "actor.ppo_mini_batch_size=64: must be 256"),
        ("actor_rollout_ref.actor.ppo_epochs", 2, "actor.ppo_epochs=2: must be 1"),
        ("actor_rollout_ref.actor.loss_agg_mode", "token-mean", "actor.loss_agg_mode=token-mean: must be token-sum"),
        ("actor_rollout_ref.actor.policy_loss.loss_mode", "vanilla", "loss_mode=vanilla: must be token_weights"),
        ("actor_rollout_ref.actor.entropy_coeff", 0.01, "actor.entropy_coeff=0.01: must be 0"),
        ("algorithm.rollout_correction.bypass_mode", "true", "rollout_correction.bypass_mode=true: must be false"),
        ("actor_rollout_ref.actor.use_kl_loss", "true", "actor.use_kl_loss=True: must be False"),
    ],
)
def test_what_would_not_be_exact_is_refused_by_verls_own_check(key, value, text):
    check = verl_of("utils.config").validate_config
    with pytest.raises(ValueError, match=text):
        check(composed(EXACT | {key: value}), use_reference_policy=False, use_critic=False)


def test_verl_imports_it_by_itself():
    """Modules that import these functions of verl later, by name, get the extended ones."""
    code = (
        "import verl; from verl.trainer.ppo.v1 import utils; from verl.trainer import main_ppo; "
        "print(hasattr(utils.compute_advantage, '__wrapped__'), hasattr(main_ppo.validate_config, '__wrapped__'))"
    )
    environment = os.environ | {"VERL_USE_EXTERNAL_MODULES": "engines.verl", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.split()[-2:] == ["True", "True"], done.stdout + done.stderr
