"""The KL penalty as an objective that wraps another one; tests/test_contract.py holds it to the contract too."""

import pytest
import torch
from torch.testing import assert_close

import algorithms
from algorithms.kl_penalty import KLPenalty
from algorithms.pg import PG
from algorithms.reinforce_pp import ReinforcePP
from algorithms.remax import ReMax
from algorithms.tpo import TPO
from conf.discover import discover
from tests.helpers import experiment, gradient, names, objective, random_batch
from training.experiment import build


@pytest.mark.parametrize("algo", names("algo"))
def test_its_gradient_is_that_of_the_objective_and_of_the_distance(algo):
    logp, batch = random_batch(3, 4, 5)
    plain, found = objective(algo), gradient(KLPenalty(objective(algo), 0.3), logp, batch)
    distance = (1 - (batch.logp_ref - logp).exp()) * batch.mask / batch.mask.sum()  # of exp(x) - x - 1
    assert_close(found, gradient(plain, logp, batch) + 0.3 * distance)
    loss, metrics = KLPenalty(plain, 0.3).loss(logp, batch)
    x = batch.logp_ref - logp
    expected = ((x.exp() - x - 1) * batch.mask).sum() / batch.mask.sum()
    assert_close(metrics["kl_reference"], expected)
    assert_close(loss, plain.loss(logp, batch)[0] + 0.3 * expected)


def test_at_the_reference_it_adds_nothing():
    _, batch = random_batch(3, 4, 5)
    assert gradient(KLPenalty(TPO(), 10.0), batch.logp_ref, batch).allclose(gradient(TPO(), batch.logp_ref, batch))


def test_it_is_drawn_and_repeated_like_what_it_wraps():
    for inner in (TPO(), PG(), ReMax(), ReinforcePP(group_baseline=True)):
        wrapped = KLPenalty(inner, 0.1)
        for name in ("name", "paper", "sampler", "epochs", "baseline", "required_sampler", "stop_gradient"):
            assert getattr(wrapped, name) == getattr(inner, name)
        assert wrapped.needs_reference and wrapped.zero_variance_gradient == "nonzero"
    assert KLPenalty not in discover(algorithms).values()  # train.kl_beta applies it; it is no method of its own
    with pytest.raises(ValueError, match="beta=0: must be > 0"):
        KLPenalty(TPO(), 0)


def test_rows_without_a_gradient_of_the_objective_are_pulled_back_too(tmp_path):
    settings = ("env=dense_reversal", "env.reward=terminal", "env.horizon=2", "env.batch=6", "env.candidates=4")
    small = ("model.d_model=8", "model.layers=1", "train.steps=1", "train.epochs=1")
    free, held = (
        build(experiment(tmp_path, *settings, *small, f"train.kl_beta={beta}"), (0, 1)) for beta in (0.0, 0.1)
    )
    assert free.reference is None and held.reference is not None
    rollout = held.rollout(held.noise.at_step(1))
    assert rollout.active_rows(held.objective, on_policy=True).all()
    assert not rollout.active_rows(free.objective, on_policy=True).all()
    assert torch.equal(rollout.batch.logp_ref, rollout.logp(held.reference).detach())
