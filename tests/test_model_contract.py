"""The contract that every policy which trains on all seeds at once keeps: conf/model, and pytest --own=FOLDER."""

import itertools
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from store.runs import RunStore
from tests.helpers import class_of, experiment, registered
from training import checkpoint
from training.experiment import build
from training.noise import Noise

STACKED = [name for name in registered("model") if class_of("model", name).stacked]
TASKS = {  # by what a policy reads, a task that it learns in a second
    "indices": ("env=contextual_bandit", "env.num_contexts=6", "env.arms=4"),
    "features": ("env=digits", "optim.lr=1e-2"),
    "tokens": (
        "env=dense_reversal",
        "env.horizon=3",
        "env.batch=10",
        "env.candidates=4",
        "optim=adam",
        "optim.lr=1e-2",
    ),
}


def model_experiment(name: str, folder: Path):
    settings = ("device=cpu", "train.steps=40", "train.log_every=1", *TASKS[class_of("model", name).context_type])
    return experiment(folder, *settings, f"model={name}")


@pytest.fixture(params=STACKED)
def model(request, tmp_path):
    return model_experiment(request.param, tmp_path)


def policy_of(exp, *seeds: int):
    return exp.model.build(exp.env.spec, Noise(seeds))


def candidates_of(exp, noise: Noise):
    """Contexts of a step, and every possible answer to each of them; for actions that is None."""
    contexts = exp.env.contexts(noise)
    if exp.env.spec.context_type != "tokens":
        return contexts, None
    answers = itertools.product(range(exp.env.vocab), repeat=exp.env.horizon)
    return contexts, torch.tensor(list(answers)).expand(*contexts.shape[:2], -1, -1)


def test_parameters_lead_with_the_seeds_and_are_those_of_a_seed_alone(model):
    many, alone = policy_of(model, 3, 7, 11), policy_of(model, 7)
    assert dict(many.named_parameters())
    for name, parameter in many.named_parameters():
        assert len(parameter) == 3 and torch.equal(parameter[1:2], dict(alone.named_parameters())[name])


def test_probabilities_of_all_answers_sum_to_one(model):
    noise = Noise((3, 7, 11)).at_step(1)
    logp = policy_of(model, *noise.seeds).logp(*candidates_of(model, noise))
    assert logp.dim() == 4 and len(logp) == 3
    assert_close(logp.sum(-1).exp().sum(-1), torch.ones(logp.shape[:2]))


def test_a_seed_has_a_gradient_from_its_own_log_probs_alone(model):
    noise = Noise((3, 7, 11)).at_step(1)
    policy = policy_of(model, *noise.seeds)
    policy.logp(*candidates_of(model, noise))[1, :, 0].sum().backward()
    grads = [parameter.grad for parameter in policy.parameters()]
    assert any(grad[1].abs().sum() > 0 for grad in grads)
    assert all((grad[[0, 2]] == 0).all() for grad in grads)


def test_samples_follow_their_uniforms_and_have_the_log_probs_of_the_policy(model):
    noise = Noise((3, 7)).at_step(1)
    policy, contexts = policy_of(model, *noise.seeds), model.env.contexts(noise)
    count = model.env.spec.contexts if contexts is None else contexts.shape[1]
    if model.env.spec.context_type != "tokens":
        uniforms = noise.uniform("action", count * 500).view(2, count, 500)
        drawn = policy.sample(contexts, uniforms)
        assert torch.equal(drawn, policy.sample(contexts, uniforms))
        share = torch.nn.functional.one_hot(drawn, model.env.spec.actions).float().mean((1, 2))
        expected = policy.logp(contexts, None).squeeze(-1).exp().mean(1)
        assert_close(share, expected.detach(), atol=0.05, rtol=0)
        return
    uniforms = noise.uniform("action", count * 4 * model.env.horizon).view(2, count, 4, -1)
    answers, table = policy.generate(contexts, uniforms)
    assert_close(table, policy.table(contexts, answers).detach(), atol=1e-5, rtol=1e-4)
    below = (table.exp().cumsum(-1) <= uniforms.unsqueeze(-1)).sum(-1).clamp_max(model.env.vocab - 1)
    assert torch.equal(answers, below)
    likeliest = policy.greedy(contexts, model.env.horizon)
    assert torch.equal(likeliest, policy.table(contexts, likeliest).argmax(-1))


def test_a_reference_stays_as_the_policy_was(model):
    noise = Noise((3,)).at_step(1)
    policy, asked = policy_of(model, 3), candidates_of(model, noise)
    reference, before = policy.frozen_copy(), policy.logp(*asked).detach()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1.5).add_(torch.linspace(0, 1, parameter.numel()).view(parameter.shape))
    assert not torch.allclose(policy.logp(*asked), before)
    assert_close(reference.logp(*asked), before)
    assert not any(parameter.requires_grad for parameter in reference.parameters())


def test_it_learns_and_goes_on_from_its_checkpoint_with_the_same_numbers(model):
    trainer, run = build(model, (0, 5)), RunStore(model.runs_dir).open(model.config)
    expected = trainer.run(lambda t: checkpoint.save(run, t, 1.0) if t.step == 20 else None).arrays()["error"]
    assert (expected[-1] < 0.9 * expected[0]).all()
    resumed = build(model, (0, 5))
    checkpoint.restore(run, resumed)
    assert resumed.step == 20 and (resumed.run().arrays()["error"] == expected).all()
