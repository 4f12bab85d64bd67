"""The loop: seeds that train together are seeds that train alone, and a broken one harms no other."""

from dataclasses import dataclass

import pytest
import torch
from rich.console import Console

from algorithms.tpo import TPO
from envs.bandit import SparseBandit
from models.tabular import TabularConfig
from store.failure import ContractError
from tests.helpers import SMALL, experiment, has_rewards_for, is_tested_pair, names
from training.config import TrainConfig
from training.experiment import blocks, build, execute
from training.loop import Trainer
from training.noise import STREAMS, Noise
from training.optim import Normalized


def double(exp, seeds):
    """In float64, since a draw at a threshold turns a difference of one rounding into another token."""
    trainer = build(exp, seeds)
    trainer.policy.double()
    trainer.optimizer = exp.optim.build(trainer.policy)
    return trainer


TASKS = [env for env in names("env") if env != "mnist"]  # digits runs its code
PAIRS = [
    (env, algo) for env in TASKS for algo in names("algo") if has_rewards_for(env, algo) and is_tested_pair(env, algo)
]


@pytest.mark.parametrize(("env", "algo"), PAIRS)
def test_a_seed_alone_is_the_seed_among_others(tmp_path, env, algo):
    overrides = (f"env={env}", f"algo={algo}", "train.steps=15", "train.log_every=1", "train.epochs=2")
    exp = experiment(tmp_path, *overrides, *SMALL.get(env, ()))
    together, alone = (double(exp, seeds).run().arrays() for seeds in ((0, 3, 7, 11), (7,)))
    for metric, values in alone.items():
        assert together[metric][:, 2] == pytest.approx(values[:, 0], abs=1e-4, rel=1e-3)


def test_a_non_finite_seed_is_frozen_and_recorded(tmp_path):
    exp = experiment(tmp_path, "train.steps=10")
    trainer, plain = build(exp, (0, 1, 2)), build(exp, (0, 1, 2))
    before = []

    def poison(t):
        if t.step == 4:
            with torch.no_grad():
                t.policy.logits[1, 0, 0] = torch.inf
            before.append(t.policy.logits[1].clone())

    poisoned, expected = trainer.run(poison).arrays()["error"], plain.run().arrays()["error"]
    assert trainer.frozen_seeds() == {1: 5} and trainer.cause_of_loss(1) == "loss or gradient"
    assert torch.equal(trainer.policy.logits[1], before[0])
    assert (poisoned[:, [0, 2]] == expected[:, [0, 2]]).all()
    assert torch.tensor(poisoned[:4, 1]).isfinite().all() and torch.tensor(poisoned[5:, 1]).isnan().all()


def test_metrics_are_recorded_as_asked(tmp_path):
    exp = experiment(tmp_path, "train.steps=10", "train.log_every=4", "env=contextual_bandit")
    assert build(exp, (0,)).run().recorded_steps["error"] == [1, 4, 8, 10]


def test_seed_blocks_give_the_same_curves_and_are_saved_one_by_one(tmp_path):
    console = Console(quiet=True)
    overrides = ("env=dense_reversal", *SMALL["dense_reversal"], "seeds=5", "train.steps=4", "env.reward=sequential")
    whole = execute(experiment(tmp_path / "a", *overrides, "train.seed_block=5"), console).run
    parts = execute(experiment(tmp_path / "b", *overrides, "train.seed_block=2"), console).run
    assert whole.path.name == parts.path.name
    assert [b["seeds"] for b in parts.manifest()["batches"]] == [[0, 1], [2, 3], [4]]
    assert parts.frame().value.to_numpy() == pytest.approx(whole.frame().value.to_numpy(), abs=1e-4)


def test_large_sequence_runs_are_split_by_default_and_bandits_are_not(tmp_path):
    seeds = tuple(range(9))
    assert blocks(experiment(tmp_path), seeds) == [seeds]
    assert blocks(experiment(tmp_path, "env=terminal_reversal", "device=cpu"), seeds)[0] == (0, 1)
    assert len(blocks(experiment(tmp_path, "env=dense_reversal", "algo=dg", "device=cpu"), seeds)) == 2


def test_epochs_default_to_the_environments_and_can_be_set(tmp_path):
    assert build(experiment(tmp_path), (0,)).epochs == 1
    assert build(experiment(tmp_path, "train.epochs=3"), (0,)).epochs == 3


def test_sparsity_and_noise_can_be_set(tmp_path):
    def errors(*overrides):
        trainer = build(experiment(tmp_path, "train.steps=40", *overrides), tuple(range(8)))
        return trainer.run().arrays()["error"].mean(axis=1)

    plain = errors()
    assert plain[0] == pytest.approx(0.99)
    assert errors("env.correct=10")[0] == pytest.approx(0.9)
    assert errors("env.arms=1000")[0] == pytest.approx(0.999)
    assert plain[-1] < errors("env.reward_noise=1.0")[-1] < errors("env.reward_noise=5.0")[-1]


@pytest.mark.parametrize("stream", STREAMS)
def test_noise_depends_on_seed_stream_and_step_alone(stream):
    many, one = Noise((0, 4, 9)), Noise((4,))
    for step in (1, 2, 81, 82, 83, 500, 3):
        assert torch.equal(many.at_step(step).uniform(stream, 100)[1], one.at_step(step).uniform(stream, 100)[0])
    draws = many.at_step(5).uniform(stream, 100)
    assert ((draws >= 0) & (draws < 1)).all()
    assert len({tuple(row.tolist()) for row in draws}) == 3
    assert not torch.equal(draws, many.at_step(6).uniform(stream, 100))


def test_streams_differ():
    draws = [Noise((0,)).uniform(stream, 8) for stream in STREAMS]
    assert len({tuple(draw.flatten().tolist()) for draw in draws}) == len(STREAMS)


@pytest.mark.parametrize("n", [1, 100])
def test_noise_has_the_moments_it_should(n):
    noise = Noise(tuple(range(100)))
    draws = torch.stack([noise.at_step(step).uniform("action", n)[:, 0] for step in range(300)])
    assert abs(draws.mean() - 0.5) < 0.01 and abs(draws.var() - 1 / 12) < 0.003
    assert abs(torch.corrcoef(torch.stack([draws[:-1].flatten(), draws[1:].flatten()]))[0, 1]) < 0.03
    normal = torch.stack([noise.at_step(step).normal("init", n)[:, 0] for step in range(300)])
    assert abs(normal.mean()) < 0.03 and abs(normal.std() - 1) < 0.03


@pytest.mark.gpu
def test_cuda_gives_the_cpu_curve(tmp_path):
    curves = [build(experiment(tmp_path, f"device={d}"), (0, 1)).run().arrays()["error"] for d in ("cpu", "cuda")]
    torch.testing.assert_close(*map(torch.tensor, curves), atol=1e-4, rtol=1e-3)


@dataclass(frozen=True)
class Mistaken(SparseBandit):
    """A task whose author forgot what `evaluate` must return."""

    found: tuple[tuple[str, int], ...] = ()

    def evaluate(self, policy, noise):
        return {name: torch.zeros(size) for name, size in self.found}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            (("error", 1),),
            r"Mistaken.evaluate: metric error is a tensor \(1,\); must be a tensor \(2,\)",
        ),
        ((("regret", 2),), "Mistaken.evaluate returned no metric called error"),
    ],
)
def test_metrics_of_ones_own_task_are_checked(found, said):
    env, noise = Mistaken(found=found), Noise((0, 1))
    policy = TabularConfig().build(env.spec, noise)
    trainer = Trainer(env, policy, TPO(), Normalized(list(policy.parameters()), 0.1), noise, TrainConfig(steps=1))
    with pytest.raises(ContractError, match=said):
        trainer.run()
