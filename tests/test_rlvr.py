"""Language models in the same loop: what is drawn, its log-probs, gradients in parts, penalties, and what is kept."""

import dataclasses
import io
import multiprocessing
import os
import shutil
import socket

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from rich.console import Console

from analysis.command import main as analysis
from envs.rlvr import tokens
from envs.rlvr.arithmetic import Arithmetic
from envs.rlvr.verify import Grade
from models.head import token_logp
from models.language import tokens_with
from rollouts.hf import HFEngine
from store.runs import RunStore
from tests import helpers
from tests.helpers import accumulate_gradient, experiment, names
from training import checkpoint, distributed
from training.clipped_adamw import AdamWClipped, AdamWClippedConfig
from training.evaluation import held_out_problems
from training.experiment import build, execute
from training.loop import Trainer
from training.samplers.completions import complete, completion_rollout, completions_with_greedy_baseline
from training.stop import Stop, Stopped
from training.warmstart import warm_start_folder, with_warm_start

TINY = ("env=arithmetic", "env.digits=1", "env.max_new_tokens=4", "env.batch=3", "env.candidates=4", "seeds=1")
TINY += ("model.layers=1", "model.hidden=32", "model.heads=2", "model.kv_heads=1", "model.head_dim=8", "model.mlp=32")
TINY += ("model.warm_accuracy=0", "train.eval_problems=8", "train.steps=4", "optim.lr=1e-2", "train.eval_every=2")
WARM = (*TINY, "model.warm_accuracy=0.03", "model.warm_steps=300", "model.warm_batch=64", "model.warm_lr=1e-2")
WARM += ("env.candidates=16",)
CLOCK = {"rollout_tokens_per_second", "update_tokens_per_second"}
ALGOS = [name for name in names("algo") if name != "ce"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return experiment(tmp_path_factory.mktemp("tiny"), *TINY)


@pytest.fixture(scope="session")
def warm_starts(tmp_path_factory):
    """The folder with the warm start of WARM."""
    folder, said = tmp_path_factory.mktemp("warm"), io.StringIO()
    outcome = execute(experiment(folder, *WARM, "train.phase=sft"), Console(file=said, width=200))
    assert outcome.status == "done" and outcome.run is None
    assert "% of sampled validation answers right" in said.getvalue()
    return folder / "runs" / "warm_starts"


@pytest.fixture(scope="session")
def made(tiny):
    """A trainer in float64 and a rollout of it with made-up grades: of one group all the same."""
    trainer = build(tiny, (0,))
    trainer.policy.double()
    problems = [trainer.env.problems("train")[i] for i in range(3)]
    uniforms = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answers = complete(trainer.env, trainer.policy, problems, uniforms)
        old = rollout_of(answers, torch.zeros(answers.tokens.shape, dtype=torch.float64), np.inf)
        rollout = rollout_of(answers, old.logp(trainer.policy), 1e-6)
        return trainer, rollout.with_reference(Elsewhere(trainer.policy))


class Elsewhere:
    """A reference policy that is not the first one."""

    def __init__(self, policy):
        self.policy = policy

    def logp(self, contexts, candidates):
        return 1.1 * self.policy.logp(contexts, candidates)


def rollout_of(answers, logp_old, max_mismatch):
    grades = [Grade(float(s), s == 1) for s in (0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0)]
    return completion_rollout(answers, logp_old, grades, max_mismatch)


def quiet(exp):
    outcome = execute(exp, Console(quiet=True))
    assert outcome.status == "done", outcome.message
    return outcome.run


def curves(trainer) -> dict:
    return {name: values.tolist() for name, values in trainer.history.arrays().items() if name not in CLOCK}


def gradients(policy) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in policy.parameters()])


@pytest.mark.parametrize("algo", ALGOS)
def test_completions_in_parts_give_the_gradient_of_the_whole(made, algo):
    trainer, rollout = made
    objective, kept = helpers.objective(algo), [p.detach().clone() for p in trainer.policy.parameters()]
    cfg = dataclasses.replace(trainer.cfg, micro_batch=3)  # of groups of 4
    parts = Trainer(trainer.env, trainer.policy, objective, trainer.optimizer, trainer.noise, cfg)
    whole = Trainer(trainer.env, trainer.policy, objective, trainer.optimizer, trainer.noise, trainer.cfg)
    for first in (True, False):
        trainer.policy.zero_grad()
        objective.loss(rollout.logp(trainer.policy), rollout.batch)[0].sum().backward()
        expected = gradients(trainer.policy)
        assert expected.norm() > 1e-2
        for each in (whole, parts):
            accumulate_gradient(each, rollout, on_policy=first)
            assert (gradients(trainer.policy) - expected).norm() < 1e-6 * expected.norm()
        with torch.no_grad():  # the later epochs are off the policy that drew
            for i, p in enumerate(trainer.policy.parameters()):
                p.mul_(1 + 0.1 * (-1) ** i)
    with torch.no_grad():
        for p, value in zip(trainer.policy.parameters(), kept, strict=True):
            p.copy_(value)


def test_groups_without_a_gradient_are_not_computed(made):
    _, rollout = made
    for algo, expected in (("tpo", 8), ("grpo", 8), ("pg", 12)):
        assert int(rollout.active_rows(helpers.objective(algo), True).sum()) == expected
    assert int(rollout.active_rows(helpers.objective("tpo"), False).sum()) >= 8


def test_the_policy_that_drew_has_a_ratio_of_one_however_it_rounds(made):
    trainer, rollout = made
    rounded = dataclasses.replace(
        rollout, batch=dataclasses.replace(rollout.batch, logp_old=rollout.batch.logp_old + 0.01)
    )
    objective = helpers.objective("reinforce_pp")  # has a gradient in every row
    logp = trainer.gradient.logp(rounded, objective, on_policy=True)
    torch.testing.assert_close(logp.detach(), rounded.batch.logp_old, rtol=0, atol=1e-12)
    trainer.policy.zero_grad()
    logp.sum().backward()
    found = gradients(trainer.policy)
    trainer.policy.zero_grad()
    rollout.logp(trainer.policy).sum().backward()
    torch.testing.assert_close(found, gradients(trainer.policy))
    assert not torch.equal(trainer.gradient.logp(rounded, objective, on_policy=False).detach(), rounded.batch.logp_old)


def test_processes_without_a_row_each_all_pass_every_row(made, monkeypatch):
    trainer, rollout = made
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 0)
    with torch.no_grad():
        row = torch.zeros(1, 1, dtype=torch.long)
        assert torch.equal(
            rollout.logp(distributed.ShardedPolicy(trainer.policy), row), rollout.logp(trainer.policy, row)
        )


def test_a_head_in_chunks_is_the_head():
    rng = torch.Generator().manual_seed(0)
    head, targets = torch.nn.Linear(5, 11).double(), torch.randint(11, (7,), generator=rng)
    hidden = torch.randn(7, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    found = []
    for logp in (
        token_logp(hidden, head, targets, 11, chunk=22),
        head(hidden).log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1),
    ):
        found.append([logp, *torch.autograd.grad((logp * logp.detach()).sum(), [hidden, *head.parameters()])])
    torch.testing.assert_close(*found)


def test_what_is_drawn_depends_on_its_own_numbers_alone_and_has_the_trainers_log_probs(made):
    trainer, _ = made
    env, policy = trainer.env, trainer.policy
    prompts = [env.encode(p, policy.tokenizer) for p in (env.problems("train")[0], env.problems("test")[1])]
    prompts[1] = prompts[1] + prompts[1][1:]  # of another length
    uniforms = torch.rand(64, 4, generator=torch.Generator().manual_seed(1))
    both = policy.complete(prompts, 32, uniforms)
    assert len(set(both.lengths.tolist())) > 1 and both.truncated.any() and not both.truncated.all()
    for i, prompt in enumerate(prompts):
        part = slice(32 * i, 32 * (i + 1))
        alone = policy.complete([prompt], 32, uniforms[part])
        for field in dataclasses.fields(alone):
            torch.testing.assert_close(getattr(alone, field.name), getattr(both, field.name)[part])
        counts = torch.arange(4) < alone.lengths.unsqueeze(1)
        tokens = torch.where(counts, alone.tokens, -1).view(1, 1, 32, 4)
        with torch.no_grad():
            logp = policy.logp(torch.tensor([[prompt]]), tokens)[0, 0]
            plain = policy.model(torch.tensor([prompt])).logits[0, -1].softmax(-1)
        torch.testing.assert_close(alone.logp, logp)
        torch.testing.assert_close(logp[:, 0].exp(), plain[alone.tokens[:, 0]])
    even = ((torch.arange(1000) + 0.5) / 1000).unsqueeze(1)
    drawn = policy.complete(prompts[1:], 1000, even).tokens.flatten().bincount(minlength=len(plain))
    assert (drawn / 1000 - plain).abs().max() < 2e-3
    likeliest = policy.complete(prompts, 1, torch.full((2, 1), torch.nan)).tokens
    assert likeliest[1, 0] == plain.argmax()


def test_a_completion_ends_at_the_stop_and_what_is_before_it_is_graded(tmp_path):
    settings = (*TINY, "env=reasoning_gym", "env.task_name=gcd", "+env.options.max_value=9", "env.stop=\\n")
    trainer = build(experiment(tmp_path, *[s for s in settings if s not in ("env=arithmetic", "env.digits=1")]), (0,))
    env, policy = trainer.env, trainer.policy
    (newline,) = tokens_with("\n", policy.tokenizer)
    assert policy.tokenizer.decode([newline]) == "\n" and policy.end_tokens == [policy.tokenizer.eos_token_id]
    problems = [env.problems("train")[0]]
    found = complete(env, policy, problems, torch.rand(1, 2000, 4, generator=torch.Generator().manual_seed(3)))
    at = (found.tokens[0, 0] == newline).nonzero()
    assert len(at) > 10
    for row, column in at.tolist():
        assert not found.truncated[0, 0, row] and (found.tokens[0, 0, row, column + 1 :] == -1).all()
        assert found.texts[row].endswith("\n") and env.graded_part(found.texts[row]) == found.texts[row].strip()
    assert trainer.run().values["reward"]


def test_a_seed_that_turned_non_finite_draws_no_more(tmp_path):
    trainer = build(experiment(tmp_path, *TINY, "train.steps=6", "train.log_every=2", "train.eval_every=2"), (0,))
    drawn, rollout = [], trainer.rollout
    trainer.rollout = lambda noise: drawn.append(trainer.step) or rollout(noise)

    def freeze(t):
        t.alive[:] = t.step < 2

    history = trainer.run(freeze)
    assert drawn == [1, 2] and history.recorded_steps["reward"] == [1, 2, 4, 6]
    assert history.recorded_steps["test_accuracy"] == [0, 2, 4, 6]  # as those of the other seeds
    assert torch.stack(history.values["reward"][2:]).isnan().all()


def test_a_damaged_warm_start_is_kept_and_a_new_one_is_made(tmp_path, caplog):
    exp = experiment(tmp_path, *WARM)
    folder = warm_start_folder(exp)
    folder.mkdir(parents=True)
    (folder / "warm_start.json").write_text('{"accuracy":')
    with_warm_start(exp, Console(quiet=True))
    assert "warm_start.json is damaged" in caplog.text and (folder / "config.json").exists()
    (kept,) = folder.parent.glob("*.damaged-*")
    assert (kept / "warm_start.json").read_text() == '{"accuracy":'


def test_a_warm_start_stops_when_it_is_asked(tmp_path):
    exp, said = experiment(tmp_path, *WARM), io.StringIO()
    with pytest.raises(Stopped):
        execute(exp, Console(file=said, width=200), Stop(deadline=0.0))
    assert "warm start: stopped before step 1; the next command starts it again" in said.getvalue()
    assert not warm_start_folder(exp).exists()


def test_a_process_that_waits_for_a_warm_start_stops_when_it_is_asked(tmp_path):
    exp = experiment(tmp_path, *WARM)
    folder = warm_start_folder(exp)
    folder.parent.mkdir(parents=True)
    with FileLock(f"{folder}.lock"), pytest.raises(Stopped):
        with_warm_start(exp, Console(quiet=True), Stop(deadline=0.0))


def test_an_evaluation_without_problems_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Arithmetic, "problems", lambda self, split: [])
    with pytest.raises(ValueError, match=r"env=arithmetic: problems\('test'\) is empty"):
        held_out_problems(experiment(tmp_path, *TINY).env, "test", 8)


def test_completions_that_are_alike_so_far_pass_as_one_row_and_finished_ones_leave(made, monkeypatch):
    policy, passed = made[0].policy, []
    run = HFEngine._logits
    monkeypatch.setattr(HFEngine, "_logits", lambda self, x, *args: passed.append(len(x)) or run(self, x, *args))
    drawn = policy.complete([[1, 5, 6]], 200, torch.rand(200, 4, generator=torch.Generator().manual_seed(2)))
    left = [drawn.tokens[drawn.lengths > t] for t in (1, 2, 3)]
    assert passed == [1, *(len(tokens[:, :t].unique(dim=0)) for t, tokens in enumerate(left, start=1))]
    assert len(left[2]) < 180 and passed[1] < passed[2] < passed[3] < len(left[2])


def test_a_mismatch_of_the_engine_stops_the_run_and_says_why(made):
    trainer, _ = made
    problems = [trainer.env.problems("train")[i] for i in range(3)]
    answers = complete(trainer.env, trainer.policy, problems, torch.full((3, 4, 4), 0.5))
    with pytest.raises(RuntimeError, match=r"engine_mismatch=.*model.max_mismatch=0.1.*model.engine=hf"):
        rollout_of(answers, answers.logp - 0.2, 0.1)


def test_a_run_keeps_its_policy_its_samples_and_resumes_the_same_curve(tmp_path, capsys, warm_starts):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    exp = experiment(tmp_path, *WARM, "train.kl_beta=0.1", "train.epochs=2", "algo=grpo", "model.lora_rank=2")
    shutil.copytree(warm_starts, exp.runs_dir / "warm_starts")
    run, exp = quiet(exp), with_warm_start(exp, Console(quiet=True))
    whole = build(exp, (0,))
    whole.run(lambda t: checkpoint.save(run, t, 1.0) if t.step == 2 else None)
    again = build(exp, (0,))
    assert checkpoint.restore(run, again) == 1.0 and again.step == 2
    again.run()
    assert curves(again) == curves(whole)
    stored = run.frame().pivot_table(index="step", columns="metric", values="value")
    assert stored.test_accuracy.dropna().index.tolist() == [0, 2, 4] and stored.reward.dropna().index[0] == 1
    assert stored.kl_reference[1] == 0 < stored.kl_reference[4]
    assert all(name.count("lora") for name in whole.state_dict()["policy"])
    folder = run.path / "policy" / "seed_0"
    assert (folder / "adapter_config.json").exists()
    samples = run.samples()
    assert {s["step"] for s in samples} == {0, 2, 4} and {s["greedy"] for s in samples} == {True, False}
    assert analysis(["samples", run.path.name, "--runs-dir", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    assert samples[-1]["prompt"] in out and "step 4" in out
    plain = quiet(experiment(tmp_path, *TINY, "train.steps=1"))
    folder = plain.path / "policy" / "seed_0"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    trainer = build(experiment(tmp_path, *TINY, "train.steps=1"), (0,))
    trainer.run()
    ids = tokenizer("1+2=", return_tensors="pt")["input_ids"]
    torch.testing.assert_close(model(ids).logits, trainer.policy.model(ids).logits)


def test_activations_computed_again_and_prompts_apart_change_no_gradient(made):
    trainer, rollout = made
    policy, found = trainer.policy, []
    for recomputed in (False, True):
        if recomputed:
            policy.causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
        policy.checkpointing = recomputed
        policy.zero_grad()
        logp = rollout.logp(policy)
        logp.square().sum().backward()
        found.append((logp.detach(), gradients(policy)))
    policy.checkpointing = False
    policy.causal_lm.gradient_checkpointing_disable()
    torch.testing.assert_close(*found, atol=1e-5, rtol=0)
    assert not any(module.training for module in policy.model.modules())


class WithoutEquals(Arithmetic):
    def tokenizer(self):
        return tokens.characters("0123456789+")


def test_a_prompt_that_the_tokenizer_of_the_task_cannot_say_is_refused(tmp_path):
    planned = experiment(tmp_path, *TINY)
    mistaken = WithoutEquals(**vars(planned.env))
    said = execute(dataclasses.replace(planned, env=mistaken), Console(quiet=True)).message
    assert "WithoutEquals.tokenizer has no token for '='" in said


def test_a_greedy_baseline_is_the_score_of_the_likeliest_answer(made, monkeypatch):
    trainer, _ = made
    monkeypatch.setattr(type(trainer.env), "submit", lambda self, problems, texts: Lengths(texts))
    batch = completions_with_greedy_baseline(trainer.env, trainer.policy, trainer.noise.at_step(1)).batch
    problems = [trainer.env.problems("train")[i] for i in trainer.env.contexts(trainer.noise.at_step(1))[0].tolist()]
    for i, problem in enumerate(problems):
        prompt = trainer.env.encode(problem, trainer.policy.tokenizer)
        (text,) = complete(trainer.env, trainer.policy, [problem], torch.full((1, 1, 4), torch.nan)).texts
        assert prompt and (batch.baseline[0, i] == len(text)).all()
    assert batch.score.unique().numel() > 1


class Lengths(list):
    """Grades that are lengths."""

    def result(self):
        return [Grade(float(len(text)), False) for text in self]


def test_steps_are_adamws_of_the_clipped_gradient_and_small_ones_are_not_lost():
    cfg, rng = AdamWClippedConfig(lr=1e-3, max_grad_norm=0.5, weight_decay=0.1), torch.Generator().manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(4, 3)) for _ in range(2))
    half = torch.nn.Parameter(torch.ones(4, 3, dtype=torch.bfloat16))
    inner = torch.optim.AdamW([theirs], cfg.lr, weight_decay=cfg.weight_decay)
    optimizers, alive = [AdamWClipped([p], cfg) for p in (ours, half)], torch.tensor([True])
    for _ in range(20):
        theirs.grad = torch.randn(4, 3, generator=rng)
        for each, p in zip(optimizers, (ours, half), strict=True):
            each.zero_grad()
            for part in 0.25, 0.75:  # gradients of parts add up
                (p * (part * theirs.grad).to(p.dtype)).sum().backward()
        torch.nn.utils.clip_grad_norm_([theirs], cfg.max_grad_norm)
        inner.step()
        for each in optimizers:
            each.step(alive, each.grad_norm())
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(half, theirs.bfloat16(), atol=1e-2, rtol=0)
    torch.testing.assert_close(optimizers[1].params[0], theirs, atol=2e-3, rtol=0)
    assert torch.equal(half, optimizers[1].params[0].bfloat16()) and half.grad is None
    assert (half != 1).any()
    kept = ours.detach().clone()
    ours.grad = torch.ones(4, 3)
    optimizers[0].step(torch.tensor([False]), torch.ones(1))
    assert torch.equal(ours, kept)


def test_a_penalty_holds_any_policy_to_the_first(tmp_path):
    free, held = (build(experiment(tmp_path, f"train.kl_beta={beta}"), (0, 1)).run().arrays() for beta in (1e-9, 1e3))
    assert (free["kl_reference"][0] == 0).all() and (held["kl_reference"][-1] < 0.1 * free["kl_reference"][-1]).all()


def test_two_processes_give_the_curve_of_one(tmp_path, warm_starts):
    # the share of a process has other shapes, which some processors round otherwise. In float64 only norms round in
    # float32; small steps keep Adam from making whole steps of it
    settings = (*WARM, "train.kl_beta=0.1", "train.epochs=2", "train.micro_batch=7", "model.dtype=float64")
    settings += ("optim.lr=1e-3",)
    one, two = (experiment(tmp_path / name, *settings) for name in ("one", "two"))
    for exp in (one, two):
        shutil.copytree(warm_starts, exp.runs_dir / "warm_starts")
    alone = quiet(one)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=process, args=(two, world | {"RANK": str(rank)})) for rank in range(2)]
    for each in processes:
        each.start()
    for each in processes:
        each.join(120)
    assert [each.exitcode for each in processes] == [0, 0]
    expected, found = (
        run.frame().query("metric not in @CLOCK").set_index(["metric", "step"]).value
        for run in (alone, RunStore(two.runs_dir).find(two.config))
    )
    assert expected["reward"].any() and expected["kl_reference"].any() and len(expected["test_accuracy"]) == 3
    pd.testing.assert_series_equal(found, expected, atol=1e-5, rtol=1e-5)


def process(exp, world: dict[str, str]) -> None:
    """One of several that train `exp`."""
    os.environ.update(world)
    os._exit(execute(exp, Console(quiet=True)).status == "failed")
