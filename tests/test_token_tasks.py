"""The token tasks beside reversal: their closed forms, and what a known policy scores on them."""

import itertools
import math

import pytest
import torch
from torch.testing import assert_close

from envs.many_answers import PASS_AT, ManyAnswers, diversity
from envs.running_sum import RunningSum
from envs.shifted_bandit import ShiftedBandit
from envs.sort_prompt import SortPrompt
from models.tabular import TabularConfig
from training.noise import Noise
from training.samplers import SAMPLERS

REWARDS_PER_TOKEN = ("bag_of_tokens", "sequential")
TASKS = [(task, reward) for task in (SortPrompt, RunningSum) for reward in ("terminal", *REWARDS_PER_TOKEN)]
TASKS.append((ManyAnswers, "terminal"))


def all_strings(vocab, horizon):
    return torch.tensor(list(itertools.product(range(vocab), repeat=horizon)))


def enumerated(env):
    """Every prompt with every answer: (1,B,H) and (1,B,K,H)."""
    strings = all_strings(env.vocab, env.horizon)
    return strings.unsqueeze(0), strings.expand(1, len(strings), -1, -1)


@pytest.mark.parametrize(("task", "reward"), TASKS)
def test_chance_error_is_that_of_all_answers(task, reward):
    env = task(horizon=3, vocab=3, reward=reward)
    assert_close(1 - env.score(*enumerated(env)).mean().item(), env.chance_error)


@pytest.mark.parametrize(("task", "reward"), TASKS)
def test_the_right_answer_has_reward_one_on_every_token(task, reward):
    env = task(horizon=3, vocab=3, reward=reward)
    prompts, _ = enumerated(env)
    assert env.score(prompts, env.answer(prompts).unsqueeze(2)).min() == 1


def test_sorting_and_running_sums_by_hand():
    prompt = torch.tensor([[[2, 0, 3, 2]]])
    assert SortPrompt(horizon=4, vocab=4).answer(prompt)[0, 0].tolist() == [0, 2, 2, 3]
    assert RunningSum(horizon=4, vocab=4).answer(prompt)[0, 0].tolist() == [2, 2, 1, 3]


def test_next_tokens_of_running_sums_after_a_wrong_one():
    prompt, tokens = torch.tensor([[[1, 1, 1]]]), torch.tensor([[[[1, 0], [0, 2], [0, 1]]]])
    sums = {r: RunningSum(horizon=3, vocab=3, reward=r).score_tokens(prompt, tokens) for r in REWARDS_PER_TOKEN}
    assert sums["bag_of_tokens"][0, 0].tolist() == [[1, 0], [0, 1], [1, 0]]
    assert sums["sequential"][0, 0].tolist() == [[1, 0], [0, 1], [0, 0]]


def test_many_answers_by_hand():
    env = ManyAnswers(horizon=2, vocab=3)
    answers = torch.tensor([[[[0, 1], [2, 2], [1, 1]]]])
    assert env.score(torch.tensor([[[1, 2]]]), answers)[0, 0].tolist() == [[1, 1], [1, 1], [0, 0]]


class Scripted:
    """A policy over answers whose log-probs of next tokens are a function of prompts and prefixes."""

    def __init__(self, vocab, rule):
        self.vocab, self.rule = vocab, rule

    def table(self, prompts, answers):
        return self.rule(prompts, answers)


def uniform_policy(prompts, answers):
    return torch.full((*answers.shape, 4), 1 / 4).log()


def fair_policy(prompts, answers):
    """Uniform over right answers: any first tokens, and the last one that makes the sum right."""
    table = uniform_policy(prompts, answers)
    last = (prompts[:, :, None, 0] - answers[..., :-1].sum(-1)) % 4
    table[..., -1, :] = torch.nn.functional.one_hot(last, 4).float().log()
    return table


def stubborn_policy(prompts, answers):
    """Always the same right answer: the first token of the prompt and then zeros."""
    first = torch.nn.functional.one_hot(prompts[:, :, None, :1].expand(*answers.shape[:3], 1), 4)
    zeros = torch.zeros_like(answers[..., 1:])
    return torch.cat([first, torch.nn.functional.one_hot(zeros, 4)], dim=3).float().log()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (uniform_policy, {"right_distance": 3 / 4, "coverage": 1, "right_entropy": math.log(16), "p": 1 / 4}),
        (fair_policy, {"right_distance": 0, "coverage": 1, "right_entropy": math.log(16), "p": 1}),
        (stubborn_policy, {"right_distance": 15 / 16, "coverage": 1 / 16, "right_entropy": 0, "p": 1}),
    ],
)
def test_diversity_of_known_policies(rule, expected):
    env = ManyAnswers(horizon=3, vocab=4)
    found = env.evaluate(Scripted(4, rule), Noise((0, 1)))
    p = expected.pop("p")
    expected |= {f"pass_{k}": 1 - (1 - p) ** k for k in PASS_AT}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(found[name], torch.full((2,), float(value)), msg=name, atol=1e-5, rtol=0)


def test_chance_is_the_right_distance_of_the_uniform_policy():
    env = ManyAnswers(horizon=2, vocab=5)
    logp, right = torch.full((1, 1, 25), 1 / 25).log(), torch.arange(25).unsqueeze(0) % 5 == 0
    assert_close(diversity(logp, right)["right_distance"].item(), env.chance_error)


def test_an_answer_is_covered_from_a_tenth_of_its_fair_share():
    right = torch.tensor([[True, True, False]])
    for p, share in ((0.051, 1.0), (0.049, 0.5)):
        logp = torch.tensor([[[p, 0.5, 0.5 - p]]]).log()
        assert_close(diversity(logp, right)["coverage"].item(), share)


def test_evaluation_lists_every_answer_with_its_own_probability():
    """The log-probs of a policy that depends on the prefix, against those of each whole answer."""
    env = ManyAnswers(horizon=3, vocab=3)
    weights = torch.randn(3, 3, 3, 3, generator=torch.Generator().manual_seed(0))

    def rule(prompts, answers):
        previous = torch.nn.functional.pad(answers[..., :-1], (1, 0))
        position = torch.arange(3).expand(answers.shape)
        return weights[position, previous, prompts[:, :, None, :].expand(answers.shape)].log_softmax(-1)

    prompts, answers = enumerated(env)
    plain = rule(prompts, answers).gather(-1, answers.unsqueeze(-1)).squeeze(-1).sum(-1)
    assert_close(env._logp_of_all_answers(Scripted(3, rule), prompts), plain)


@pytest.mark.parametrize(
    ("settings", "text"),
    [({"reward": "sequential"}, "reward=sequential"), ({"vocab": 10, "horizon": 5}, "horizon=5: must be so small")],
)
def test_many_answers_refuses(settings, text):
    with pytest.raises(ValueError, match=text):
        ManyAnswers(**settings)


def test_rewards_of_the_shifted_bandit():
    env = ShiftedBandit(num_contexts=3, arms=2, scale=10, shift=5)
    contexts, actions = torch.tensor([[0, 1, 2]]), torch.tensor([[[0, 1], [0, 1], [0, 1]]])
    expected = [[5.1, 5.0], [-5.0, -4.0], [15.0, 5.0]]
    assert_close(env.score(contexts, actions)[0, ..., 0], torch.tensor(expected))


def test_groups_of_the_shifted_bandit_share_a_context():
    env = ShiftedBandit(num_contexts=4, arms=3, batch=5, candidates=6)
    noise = Noise((0, 1))
    policy = TabularConfig(init_std=1.0).build(env.spec, noise)
    batch = SAMPLERS["action_groups"](env, policy, noise).batch
    assert batch.score.shape == (2, 5, 6) and batch.logp_old.shape == (2, 5, 6, 1)
    shift = env.true_reward(env.contexts(noise), torch.device("cpu")).amin(-1, keepdim=True)
    assert (batch.score >= shift - 1e-6).all()
    alone = SAMPLERS["single_actions"](env, policy, noise).batch
    assert alone.score.shape == (2, 5, 1)
    assert_close(alone.baseline.flatten(1), alone.reward.mean((1, 2, 3), keepdim=True).flatten(1))
