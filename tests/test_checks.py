"""Methods and tasks whose code returns what it must not: the message names the class and what must be returned."""

import io
from dataclasses import dataclass, replace

import pytest
import torch
from rich.console import Console

from algorithms import new
from algorithms.base import Objective, group_sum
from envs.bandit import SparseBandit
from envs.base import Spec
from envs.sequence import TokenReversal
from models.tabular import TabularConfig
from store.runs import RunStore
from tests.helpers import experiment
from training.experiment import execute

TINY = ("env=sparse_bandit", "env.arms=5", "seeds=2", "train.steps=4")


def right(logp, batch):
    return group_sum(-batch.score * logp.squeeze(-1), batch.effective_weight)


RETURNS = {
    "None": lambda logp, batch: None,
    "(None, dict {})": lambda logp, batch: (None, {}),
    "a tensor (2,); must be (loss, metrics)": right,
    "(float 1.0, dict {})": lambda logp, batch: (1.0, {}),
    "(a tensor (), dict {}); must be (loss, metrics): a tensor (2,)": lambda logp, batch: (
        right(logp, batch).sum(),
        {},
    ),
    "must not be detached": lambda logp, batch: (right(logp, batch).detach(), {}),
    "metric 3: its name must be text": lambda logp, batch: (right(logp, batch), {3: right(logp, batch)}),
    "metric share is str 'half'": lambda logp, batch: (right(logp, batch), {"share": "half"}),
    "metric error has the name of a metric of the task": lambda logp, batch: (
        right(logp, batch),
        {"error": right(logp, batch)},
    ),
    "SystemExit: 0": lambda logp, batch: exit(0),
}


def outcome(tmp_path, console=None, **parts):
    return execute(replace(experiment(tmp_path, *TINY), **parts), console or Console(quiet=True))


@pytest.mark.parametrize("said", RETURNS)
def test_a_loss_that_returns_something_else_is_named(tmp_path, said):
    @dataclass(frozen=True)
    class Mine(Objective):
        name, paper, sampler = "mine", "", "group"

        def loss(self, logp, batch):
            return RETURNS[said](logp, batch)

    found = outcome(tmp_path, objective=Mine())
    assert found.status == "failed" and said in found.message
    assert said.startswith("SystemExit") or "Mine.loss" in found.message
    assert not found.run.seeds_done()


def test_a_policy_without_a_gradient_is_named(tmp_path):
    @dataclass(frozen=True)
    class Mine(TabularConfig):
        def build(self, spec, noise):
            policy = super().build(spec, noise)
            policy.logp = lambda *args: type(policy).logp(policy, *args).detach()
            return policy

    message = outcome(tmp_path, model=Mine()).message
    assert "the log-probs of Tabular have no gradient" in message


def bandit_with(**methods):
    """A bandit of a class Mine, with these methods in place of its own."""
    return dataclass(frozen=True)(type("Mine", (SparseBandit,), methods))(arms=5)


BELOW, ABOVE = torch.full((2,), -0.1), torch.full((2,), 1.1)
FAULTS = {
    "the metric error of Mine is -0.1; must be between 0 and 1": {"evaluate": lambda *_: {"error": BELOW}},
    "the metric error of Mine is 1.1; must be between 0 and 1": {"evaluate": lambda *_: {"error": ABOVE}},
    "Mine.evaluate returned None": {"evaluate": lambda *_: None},
    "Mine.evaluate: metric error is float 0.5": {"evaluate": lambda *_: {"error": 0.5}},
    "stream of random numbers=rewards: must be one of init, context, action, reward, eval, warm": {
        "score": lambda self, contexts, actions, noise: noise.uniform("rewards", 1)
    },
}


@pytest.mark.parametrize("said", FAULTS)
def test_a_fault_of_a_task_is_named(tmp_path, said):
    assert said in outcome(tmp_path, env=bandit_with(**FAULTS[said])).message


CONTEXTS = {
    "Mine.contexts returned a tensor (2, 9) of torch.float32; must be a tensor (2,B) of int64, from 0 to 1436": (
        "digits",
        {"contexts": lambda self, noise: noise.uniform("context", 9)},
    ),
    "Mine.contexts returned a tensor (2, 1) of torch.int64; must be a tensor (2,B)": (
        "digits",
        {"contexts": lambda self, noise: torch.full((2, 1), 1437)},
    ),
    "Mine.contexts returned a tensor (2, 5) of torch.int64; must be a tensor (2,B,H) of int64, from 0 to 1": (
        "dense_reversal",
        {"contexts": lambda self, noise: torch.zeros(2, 5, dtype=torch.long)},
    ),
    "Mine.answer returned NoneType; must be a right answer to each prompt, a tensor (2, 4, 3)": (
        "dense_reversal",
        {"answer": lambda self, prompts: None},
    ),
    "Mine.answer returned a tensor (2, 4, 2); must be a right answer to each prompt, a tensor (2, 4, 3)": (
        "dense_reversal",
        {"answer": lambda self, prompts: prompts[..., 1:]},
    ),
}


@pytest.mark.parametrize("said", CONTEXTS)
@pytest.mark.parametrize("objective", ["tpo", "grpo", "remax"])
def test_contexts_and_answers_of_ones_own_task_are_checked(tmp_path, said, objective):
    name, methods = CONTEXTS[said]
    sizes = ("env.horizon=3", "env.batch=4") if name == "dense_reversal" else ("env.batch=9",)
    planned = experiment(tmp_path, f"env={name}", *sizes, f"algo={objective}", "seeds=2", "train.steps=2")
    env = dataclass(frozen=True)(type("Mine", (type(planned.env),), methods))(**vars(planned.env))
    assert said in execute(replace(planned, env=env), Console(quiet=True)).message


def test_metrics_of_a_low_precision_are_stored(tmp_path):
    def evaluate(self, policy, noise):
        return SparseBandit.evaluate(self, policy, noise) | {"half": torch.full((2,), 0.5, dtype=torch.bfloat16)}

    frame = outcome(tmp_path, env=bandit_with(evaluate=evaluate)).run.frame()
    assert set(frame[frame.metric == "half"].value) == {0.5}


REWARDS = {
    "None": lambda reward: None,
    "a tensor (2, 1, 100) of torch.float32": lambda reward: reward.squeeze(-1),
    "a tensor (2, 1, 100, 1) of torch.bool": lambda reward: reward > 0,
    "a tensor (1, 1, 100, 1) of torch.float32": lambda reward: reward[:1],
}


@pytest.mark.parametrize("said", REWARDS)
@pytest.mark.parametrize("objective", ["tpo", "grpo", "remax"])
def test_rewards_that_are_none_are_named(tmp_path, said, objective):
    @dataclass(frozen=True)
    class Mine(SparseBandit):
        def score(self, contexts, candidates, noise):
            return REWARDS[said](super().score(contexts, candidates[..., :100], noise))

    found = execute(
        replace(experiment(tmp_path, *TINY, f"algo={objective}"), env=Mine(arms=5, batch=100)), Console(quiet=True)
    )
    assert f"Mine.score returned {said}; must be rewards, a tensor (2, 1, 10" in found.message
    assert found.status == "failed" and not found.run.seeds_done()


@pytest.mark.parametrize(("method", "sampler"), [("score", "auto"), ("score_tokens", "token_group")])
def test_rewards_of_answers_that_are_one_number_each_are_named(tmp_path, method, sampler):
    @dataclass(frozen=True)
    class Mine(TokenReversal):
        pass

    setattr(Mine, method, lambda self, *args: getattr(TokenReversal, method)(self, *args).mean(-1))
    planned = experiment(
        tmp_path, "env=dense_reversal", "env.horizon=3", "env.batch=4", f"sampler={sampler}", "train.steps=2", "seeds=2"
    )
    message = execute(
        replace(planned, env=Mine(horizon=3, batch=4, reward="bag_of_tokens")), Console(quiet=True)
    ).message
    assert f"Mine.{method} returned a tensor (2, 4, " in message and "must be rewards, a tensor (2, 4, " in message


def test_a_seed_whose_rewards_are_not_finite_is_frozen(tmp_path):
    def score(self, contexts, candidates, noise):
        reward = SparseBandit.score(self, contexts, candidates, noise)
        reward[1] = torch.nan
        return reward

    console = Console(file=io.StringIO(), width=120)
    found = outcome(tmp_path, console, env=bandit_with(score=score))
    assert found.run.manifest()["batches"][0]["frozen"] == {"1": 1}
    assert "seed 1 turned non-finite at step 1 (rewards) and was frozen there" in console.file.getvalue()


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("sampler", "grp"),
        ("epochs", 0),
        ("epochs", "four"),
        ("invariances", {"foo"}),
        ("zero_variance_gradient", "never"),
        ("baseline", "mean"),
    ],
)
def test_members_of_a_method_are_checked_where_it_is_declared(member, value):
    with pytest.raises(ValueError, match=f"Mine.{member}="):
        type("Mine", (Objective,), {member: value})


@pytest.mark.parametrize(("fact", "value"), [("epochs", 0), ("chance_error", 7.0), ("eval_at", "end")])
def test_facts_of_a_task_are_checked(fact, value):
    facts = {"contexts": 1, "actions": 2, "samplers": {}, "group_size_settings": {}, "chance_error": 0.5}
    with pytest.raises(ValueError, match=f"spec: {fact}="):
        Spec(**facts | {fact: value})


@pytest.mark.parametrize("name", ["torch", "json", "numpy"])
def test_a_new_file_hides_no_module(tmp_path, name):
    assert new.SCAFFOLD.main([name, "--dir", str(tmp_path)]) == 2
    assert not list(tmp_path.iterdir())


def test_a_command_whose_run_another_process_holds_fails_and_names_the_seeds(cli, tmp_path):
    cli(*TINY)
    (run,) = RunStore(tmp_path / "runs").runs()
    with run.claim():
        assert cli(*TINY)[0] == 0  # nothing is left to train
        code, out = cli(*TINY, "seeds=4")
    assert code == 1 and "seeds 2, 3 are left" in " ".join(out.split())
