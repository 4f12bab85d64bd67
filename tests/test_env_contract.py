"""The contract that every task keeps by being registered: those of conf/env, and those of pytest --own=FOLDER."""

import dataclasses
import random
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn

from conf.fit import MisfitError, check_fit
from conf.resolve import Experiment
from envs.base import Env
from envs.rlvr import tokens
from envs.sequence import SequenceEnv
from models.base import Policy
from store.runs import RunStore
from tests import helpers, own_text
from tests.helpers import algorithm_kinds, experiment, experiment_of, registered
from tests.test_rlvr_tasks import write_gsm8k
from training import checkpoint
from training.experiment import build
from training.noise import Noise
from training.samplers import SAMPLERS
from training.samplers.answers import answer_rollout

MANY = tuple(range(20))  # seeds
LONG = ("gsm8k", "graph_color", "knights_knaves", "reasoning_gym", "text")  # tasks whose completions are cut short
EXACT = "def score(completion, row):\n    return completion == row['answer']\n"
CLOCK = {"rollout_tokens_per_second", "update_tokens_per_second"}


@dataclasses.dataclass(frozen=True)
class Task:
    """A registered task in a size for tests, with its runs in `folder`."""

    name: str
    settings: tuple[str, ...]
    folder: Path

    def experiment(self, *overrides: str) -> Experiment:
        return experiment(self.folder, f"env={self.name}", "device=cpu", *self.settings, *overrides)

    def experiment_of(self, algo: str, *overrides: str) -> Experiment:
        return experiment_of(self.folder, algo, f"env={self.name}", "device=cpu", *self.settings, *overrides)


def small_task(name: str, folder: Path, data: tuple[str, ...] = ()) -> Task:
    """The task of this name with the settings `data`, which say where its data is."""
    settings = ("train.steps=4", "train.log_every=1", *helpers.small(name), *data)
    return Task(name, settings + ("env.max_new_tokens=16",) * (name in LONG), folder)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """{task: settings that say where its data is}, for tasks that do not make their problems."""
    gsm8k, text = (tmp_path_factory.mktemp(name) for name in ("gsm8k", "text"))
    own = own_text.settings(own_text.write(text, EXACT))
    return {
        "gsm8k": (f"env.data_dir={write_gsm8k(gsm8k)}",),
        "text": tuple(f"env.{key}={value}" for key, value in own.items()),
    }


@pytest.fixture(params=registered("env"))
def task(request, tmp_path, data):
    return small_task(request.param, tmp_path, data.get(request.param, ()))


def test_rollouts_have_the_shapes_of_the_axes_and_finite_rewards(task):
    exp = task.experiment()
    noise = Noise((3, 7, 11) if exp.model.stacked else (7,)).at_step(1)
    policy, spec = exp.model.build(exp.env.spec, noise), exp.env.spec
    assert "single" in spec.samplers or "group" in spec.samplers
    for layout in sorted({*spec.samplers.values(), *spec.token_samplers.values()}):
        rollout = SAMPLERS[layout](exp.env, policy, noise)
        batch, shape = rollout.batch, rollout.batch.logp_old.shape
        assert len(shape) == 4 and shape[0] == len(noise.seeds)
        parts = (batch.reward, batch.baseline, batch.mask, batch.score.unsqueeze(-1), batch.weight.unsqueeze(-1))
        assert torch.broadcast_shapes(*(part.shape for part in parts), shape) == shape, layout
        assert layout.startswith("exact") or batch.score.shape == shape[:3], layout  # one row for each seed
        assert all(part.isfinite().all() for part in parts), layout
        assert rollout.logp(policy).shape == shape
        assert all(value.shape == shape[:1] for value in rollout.metrics.values())


def test_tensors_are_on_the_device_of_the_noise(task):
    """Shown on torch's device without data, where the values of a tensor cannot be asked for."""
    env, noise = task.experiment().env, Noise((3, 7), "meta").at_step(1)
    spec, found = env.spec, {"contexts": env.contexts(noise)}
    contexts = found["contexts"]
    if spec.context_type in ("indices", "features"):
        count = spec.contexts if contexts is None else contexts.shape[1]
        table = torch.empty(2, count, spec.actions, device="meta")
        found["baseline"] = env.context_baseline(table)
        if knows_true_rewards(env):
            found["true_reward"] = env.true_reward(contexts, noise.device)
            assert torch.broadcast_shapes(found["true_reward"].shape, table.shape) == table.shape
        if type(env).score is not Env.score:
            arms = torch.zeros(2, count, 3, dtype=torch.long, device="meta")
            found["score"] = env.score(contexts, arms, noise)
            assert found["score"].shape == (2, count, 3, 1)
    elif spec.context_type == "tokens":
        s, b, h = contexts.shape
        answers = contexts.unsqueeze(2).expand(-1, -1, 5, -1)
        found["score"] = env.score(contexts, answers, noise)
        assert found["score"].shape == (s, b, 5, spec.horizon)
        if spec.token_samplers:
            found["score_tokens"] = env.score_tokens(contexts, answers.transpose(2, 3))
            assert found["score_tokens"].shape == (s, b, h, 5)
    assert not {name for name, value in found.items() if value is not None and value.device.type != "meta"}


@pytest.mark.gpu
def test_trains_on_a_gpu(task):
    exp = task.experiment("device=cuda")
    errors = build(exp, (0, 1) if exp.model.stacked else (0,)).run().arrays()["error"]
    assert torch.tensor(errors).isfinite().all()


def test_a_seed_meets_the_same_contexts_alone_and_among_others(task):
    env = task.experiment().env
    for step in (1, 2, 50):
        many, alone = (env.contexts(Noise(seeds).at_step(step)) for seeds in ((3, 7, 11), (7,)))
        assert many is None or torch.equal(many[1:2], alone)
    before = env.contexts(Noise((7,)).at_step(49))
    assert before is None or env.spec.contexts == 1 or not torch.equal(before, alone)


def test_random_answers_have_the_declared_chance_error(task):
    env, noise = task.experiment().env, Noise(MANY)
    if env.spec.context_type == "text":
        errors = torch.tensor([1 - grade.score for grade in env.grade(*random_completions(env, 64))])
    elif env.spec.context_type == "tokens":
        errors = torch.cat([random_strings(env, noise.at_step(step)) for step in range(20_000 // (20 * env.batch) + 1)])
    else:
        errors = torch.stack([env.evaluate(Uniform(env), noise.at_step(step))["error"] for step in range(5)]).flatten()
    # the error of a share of n answers, or of a mean of n numbers between 0 and 1, which varies less
    chance, n = env.spec.chance_error, len(errors)
    assert abs(errors.double().mean() - chance) <= 4 * ((chance * (1 - chance) + 1 / n) / n) ** 0.5


def random_completions(env, count: int):
    """Problems, and as many tokens as are allowed, drawn from the task's own vocabulary, for each of them."""
    rng, tokenizer = random.Random(0), env.tokenizer()
    drawn = [[rng.randrange(len(tokenizer)) for _ in range(env.max_new_tokens)] for _ in range(count)]
    texts = [tokens.decode(ids, tokenizer) for ids in drawn]
    problems = env.problems("train")
    return [problems[i % len(problems)] for i in range(count)], texts


def random_strings(env, noise: Noise) -> torch.Tensor:
    """The error of a random answer to each prompt of a step."""
    prompts = env.contexts(noise)
    drawn = torch.rand(prompts.shape, generator=torch.Generator().manual_seed(noise.step)).unsqueeze(2)
    return 1 - env.score(prompts, (drawn * env.spec.actions).long(), noise).mean(-1).flatten()


def knows_true_rewards(env: Env) -> bool:
    return type(env).true_reward is not Env.true_reward


class Uniform(Policy):
    """Every action is as likely as any other; of its logits, which are random, each is the largest as often."""

    def __init__(self, env: Env):
        super().__init__()
        self.spec, self.where = env.spec, nn.Parameter(torch.zeros(()))
        self.rng = torch.Generator().manual_seed(0)

    def table(self, contexts=None):
        count = self.spec.contexts if contexts is None else contexts.shape[-1]
        return torch.full((len(MANY), count, self.spec.actions), 1 / self.spec.actions).log()

    def logits(self, x):
        return torch.randn(len(MANY), x.shape[-2], self.spec.actions, generator=self.rng)


class Perfect(Uniform):
    """The best action of every context has all the probability."""

    def __init__(self, env: Env):
        super().__init__(env)
        self.env = env

    def table(self, contexts=None):
        if contexts is None:
            contexts = torch.arange(self.spec.contexts).expand(len(MANY), -1)
        best = self.env.true_reward(contexts, contexts.device).argmax(-1)
        best = best.expand(len(MANY), contexts.shape[-1])
        return torch.nn.functional.one_hot(best, self.spec.actions).float().log().clamp_min(-1e4)

    def logits(self, x):
        labels = self.env.labelled_contexts()[1].expand(len(MANY), -1)
        return torch.nn.functional.one_hot(labels, self.spec.actions).float()


def test_a_right_answer_has_the_highest_reward_and_error_0(task):
    env, noise = task.experiment().env, Noise(MANY).at_step(1)
    if env.spec.context_type == "text":
        for split in ("train", "validation", "test"):
            problems = [env.problems(split)[i] for i in range(min(4, len(env.problems(split))))]
            grades = env.grade(problems, [problem.answer for problem in problems])
            assert all((grade.status, grade.score, grade.solved) == ("ok", 1, True) for grade in grades)
    elif hasattr(env, "answer"):
        prompts = env.contexts(noise)
        answers = env.answer(prompts).unsqueeze(2)
        reward = env.score(prompts, answers, noise)
        assert (reward == 1).all()
        assert (answer_rollout(prompts, answers, torch.zeros(answers.shape), reward).metrics["error"] == 0).all()
    elif knows_true_rewards(env):
        reward = env.true_reward(env.contexts(noise), torch.device("cpu"))
        if "oracle" in env.spec.samplers:  # an oracle reads rewards as shares of the probability
            assert torch.equal(reward.amax(-1), torch.ones(reward.shape[:-1]))
        assert (reward.amax(-1) > reward.amin(-1)).all()
        assert (env.evaluate(Perfect(env), noise)["error"] == 0).all()
    else:
        pytest.skip("this task does not say what is right")


def test_next_tokens_are_scored_as_the_answers_that_they_belong_to(task):
    env, rng = task.experiment().env, torch.Generator().manual_seed(0)
    if not (env.spec.token_samplers and isinstance(env, SequenceEnv)):
        assert not env.spec.token_samplers or hasattr(env, "score_tokens")
        return
    prompts = env.contexts(Noise((0, 1)).at_step(1))
    tokens = torch.randint(env.vocab, (*prompts.shape, 5), generator=rng)
    tokens[..., 0] = torch.where(torch.rand(prompts.shape, generator=rng) < 0.7, env.answer(prompts), tokens[..., 0])
    for t in range(env.horizon):
        answers = tokens[..., 0].unsqueeze(2).repeat(1, 1, 5, 1)
        answers[..., t] = tokens[:, :, t]
        assert torch.equal(env.score_tokens(prompts, tokens)[:, :, t], env.score(prompts, answers)[..., t])


def test_a_run_goes_on_from_its_checkpoint_with_the_same_numbers(task):
    exp = task.experiment()
    seeds = (0, 5) if exp.model.stacked else (0,)
    trainer, run = build(exp, seeds), RunStore(exp.runs_dir).open(exp.config)
    expected = curves(trainer, lambda t: checkpoint.save(run, t, 1.0) if t.step == 2 else None)
    assert {len(values) for values in (expected["error"], trainer.history.recorded_steps["error"])} == {4}
    assert torch.tensor(expected["error"]).isfinite().all()
    resumed = build(exp, seeds)
    assert checkpoint.restore(run, resumed) == 1 and resumed.step == 2
    assert curves(resumed) == expected


def curves(trainer, after_step=lambda trainer: None) -> dict[str, list]:
    found = trainer.run(after_step).arrays()
    return {name: values.tolist() for name, values in found.items() if name not in CLOCK}


def test_what_does_not_fit_is_refused_before_any_work(task):
    env, refused = task.experiment().env, []
    for sampler, layouts in (("auto", env.spec.samplers), ("token_group", env.spec.token_samplers)):
        assert set(layouts.values()) <= SAMPLERS.keys()
        for algo in algorithm_kinds():
            fits = helpers.objective(algo).required_sampler in layouts
            refused += [] if fits else [(algo, sampler)]
            with nullcontext() if fits else pytest.raises(MisfitError, match=f"algo={algo}|sampler={sampler}"):
                check_fit(helpers.objective(algo), env, algo, task.name, sampler, "prompts")
    for compares, setting in env.spec.group_size_settings.items():
        algo = next(algo for algo in algorithm_kinds() if helpers.objective(algo).sampler == compares)
        with pytest.raises((MisfitError, ValueError), match=f"{setting}=1: must be >= 2"):
            alone = dataclasses.replace(env, **{setting: 1})
            check_fit(helpers.objective(algo), alone, algo, task.name, "auto", "prompts")
    algo, sampler = refused[0]
    with pytest.raises(MisfitError):
        task.experiment_of(algo, f"sampler={sampler}")
    assert not list(RunStore(task.folder / "runs").runs())
