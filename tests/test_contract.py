"""The contract that every objective keeps by being registered: those of conf/algo, and of pytest --own=FOLDER."""

import pytest
import torch
from torch.testing import assert_close

from algorithms.base import Batch
from algorithms.kl_penalty import KLPenalty
from envs.bandit import SparseBandit
from models.tabular import TabularConfig
from store.runs import RunStore
from tests import helpers
from tests.helpers import change, experiment, gradient, random_batch, registered, tensors
from training.config import TrainConfig
from training.loop import Trainer
from training.noise import Noise
from training.optim import Normalized

PENALISED = {f"{algo} with a KL penalty": algo for algo in ("tpo", "dg")}


@pytest.fixture(params=[*registered("algo"), *PENALISED])
def objective(request):
    if request.param in PENALISED:
        return KLPenalty(helpers.objective(PENALISED[request.param]), 0.01)
    return helpers.objective(request.param)


def test_shape_and_finiteness(objective):
    for shape in [(3, 4, 2), (5, 3, 4, 2), (2, 5, 3, 1, 1)]:
        logp, batch = random_batch(*shape)
        loss, metrics = objective.loss(logp, batch)
        assert loss.shape == shape[:-3] and loss.isfinite().all()
        assert all(value.shape == loss.shape for value in metrics.values())
        assert gradient(objective, logp, batch).isfinite().all()


@pytest.mark.parametrize("logit", [1e4, -1e4])
def test_finite_at_extreme_logits(objective, logit):
    logp, batch = random_batch(2, 3, 4, 1, dtype=torch.float32)
    logits = torch.zeros(2, 3, 4)
    logits[..., 0] = logit
    extreme = logits.log_softmax(-1).unsqueeze(-1)
    for now, old in ((extreme, extreme), (extreme, batch.logp_old), (logp, extreme)):
        loss, _ = objective.loss(now, change(batch, logp_old=old))
        assert loss.isfinite().all()
        assert gradient(objective, now, change(batch, logp_old=old)).isfinite().all()


@pytest.mark.parametrize("shift", [50.0, -50.0])
def test_finite_at_log_ratio_50(objective, shift):
    logp, batch = random_batch(2, 3, 4, 2, dtype=torch.float32)
    moved = change(batch, logp_old=logp - shift, logp_ref=logp + shift)
    assert objective.loss(logp, moved)[0].isfinite().all()
    assert gradient(objective, logp, moved).isfinite().all()


def test_stacked_is_looped_is_vmapped(objective):
    logp, batch = random_batch(3, 4, 5, 2)
    stacked, _ = objective.loss(logp, batch)
    looped = [
        objective.loss(logp[i], Batch(**{name: value[i] for name, value in tensors(batch).items()}))[0]
        for i in range(3)
    ]
    vmapped = torch.func.vmap(lambda x, fields: objective.loss(x, Batch(**fields))[0])(logp, tensors(batch))
    assert_close(stacked, torch.stack(looped))
    assert_close(stacked, vmapped)


def test_seeds_are_isolated(objective):
    logp, batch = random_batch(3, 4, 5, 2)
    logp.requires_grad_()
    (grad,) = torch.autograd.grad(objective.loss(logp, batch)[0][0], logp)
    assert grad[0].abs().sum() > 0
    assert grad[1:].abs().sum() == 0


@pytest.mark.parametrize("dim", [0, 1], ids=["contexts", "candidates"])
def test_order_does_not_matter(objective, dim):
    logp, batch = random_batch(4, 5, 2)
    order = torch.randperm(logp.shape[dim], generator=torch.Generator().manual_seed(1))
    shuffled = Batch(**{name: value.index_select(dim, order) for name, value in tensors(batch).items()})
    assert_close(objective.loss(logp, batch)[0], objective.loss(logp.index_select(dim, order), shuffled)[0])
    expected = gradient(objective, logp, batch).index_select(dim, order)
    assert_close(gradient(objective, logp.index_select(dim, order), shuffled), expected)


@pytest.mark.parametrize(("name", "scale", "shift"), [("shift", 1.0, 2.0), ("scale", 3.0, 0.0)])
def test_invariances_are_as_declared(objective, name, scale, shift):
    logp, batch = random_batch(4, 5, 1)
    moved = change(batch, reward=batch.reward * scale + shift, score=batch.score * scale + shift)
    same = torch.allclose(gradient(objective, logp, batch), gradient(objective, logp, moved), atol=1e-6)
    declare = f'"{name}" must {"" if same else "not "}be in invariances of {type(objective).__name__}'
    assert same == (name in objective.invariances), declare


def test_zero_variance_gradients_are_as_declared(objective):
    """A context in which nothing beats its group or its baseline, beside others that do learn."""
    logp, batch = random_batch(4, 5, 2)
    fields = {name: getattr(batch, name).clone() for name in ("reward", "baseline", "score")}
    for value in fields.values():
        value[0] = 0.3
    batch = change(batch, **fields)
    first, later = (gradient(objective, x, batch)[0].abs().max() < 1e-12 for x in (batch.logp_old, logp))
    found = "none" if first and later else "none_on_policy" if first else "nonzero"
    assert objective.zero_variance_gradient == found, (
        f'declare zero_variance_gradient = "{found}" in {type(objective).__name__}'
    )


def test_shift_invariance_in_logp_is_as_declared(objective):
    logp, batch = random_batch(4, 5, 1)
    batch = change(batch, weight=torch.linspace(0.5, 2, 20, dtype=logp.dtype).view(4, 5))
    of_group = gradient(objective, logp, batch).sum((-1, -2))
    found = bool(of_group.abs().max() < 1e-12)
    assert found == objective.shift_invariant_in_logp, (
        f"declare shift_invariant_in_logp = {found} in {type(objective).__name__}"
    )


def test_masked_positions_change_nothing(objective):
    logp, batch = random_batch(4, 5, 6)
    hidden = batch.mask == 0
    assert hidden.any()
    junk = {name: torch.where(hidden, 7.0, getattr(batch, name)) for name in ("logp_old", "reward", "baseline")}
    junked = torch.where(hidden, -9.0, logp)
    assert_close(objective.loss(logp, batch)[0], objective.loss(junked, change(batch, **junk))[0])
    assert (gradient(objective, junked, change(batch, **junk))[hidden] == 0).all()


def test_a_candidate_without_a_token_leaves_its_group(objective):
    logp, batch = random_batch(3, 5, 4)
    mask = batch.mask.clone()
    mask[:, 0] = 0
    found = gradient(objective, logp, change(batch, mask=mask))
    assert (found[:, 0] == 0).all()
    if objective.sampler in ("group", "set"):
        others = Batch(**{name: value[:, 1:] for name, value in tensors(change(batch, mask=mask)).items()})
        assert_close(found[:, 1:], gradient(objective, logp[:, 1:], others))
    mask[2] = 0  # none of the whole context
    found = gradient(objective, logp, change(batch, mask=mask))
    assert found.isfinite().all() and (found[2] == 0).all()


def test_gradient_is_the_derivative(objective):
    logp, batch = random_batch(2, 3, 2)
    if objective.stop_gradient:
        numeric = torch.func.jacfwd(lambda x: objective.loss(x, batch)[0])(logp)
        assert_close(gradient(objective, logp, batch), numeric)
    else:
        assert torch.autograd.gradcheck(lambda x: objective.loss(x, batch)[0], logp.requires_grad_())


def train_bandit(objective, steps: int, seeds: int = 8):
    env, noise = SparseBandit(arms=4, batch=32), Noise(tuple(range(seeds)))
    policy = TabularConfig().build(env.spec, noise)
    optimizer = Normalized(list(policy.parameters()), lr=0.1)
    return Trainer(env, policy, objective, optimizer, noise, TrainConfig(steps=steps)).run().arrays()["error"]


def test_first_step_raises_the_better_candidate(objective):
    error = train_bandit(objective, steps=2)
    assert (error[1] < error[0]).all()


def test_learns_a_four_arm_bandit_on_every_seed(objective):
    assert (train_bandit(objective, steps=100)[-1] < 0.5 * 0.75).all()


@pytest.mark.parametrize("algo", registered("algo"))
def test_yaml_round_trips_through_the_store(algo, tmp_path):
    first = experiment(tmp_path, f"algo={algo}")
    store = RunStore(tmp_path / "runs")
    run = store.open(first.config)
    assert run.config() == first.config
    assert store.open(run.config()) == run
