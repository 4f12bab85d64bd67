"""Evaluations of language models: pass@k exactly, entropies, problems solved later, and times without them."""

import io
import itertools
import math
import re
from fractions import Fraction

import pytest
import torch
from rich.console import Console

from store.identity import run_id
from tests.helpers import experiment
from tests.test_rlvr import TINY, curves
from training import checkpoint, evaluation, progress
from training.evaluation import evaluate, held_out_problems
from training.experiment import build, execute
from training.noise import Noise
from training.pass_at_k import mean_pass_at_k, pass_at_k
from training.progress import Reporter, held_out, time_left

SAMPLED = (*TINY, "train.eval_samples=5", "train.log_every=1")


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(n):
    for right in range(n + 1):
        answers = [i < right for i in range(n)]
        for k in range(1, n + 1):
            hits = [any(subset) for subset in itertools.combinations(answers, k)]
            assert pass_at_k(n, right, k) == float(Fraction(sum(hits), len(hits)))


@pytest.mark.parametrize(("n", "k", "p"), [(8, 1, 0.25), (8, 4, 0.1), (64, 16, 0.02), (100, 64, 0.005)])
def test_pass_at_k_is_unbiased(n, k, p):
    """Its mean over the binomial number of right answers is 1 - (1 - p)^k, for which more than k answers are drawn."""
    mean = sum(math.comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1))
    assert mean == pytest.approx(1 - (1 - p) ** k, rel=1e-12)
    naive = sum(math.comb(n, c) * p**c * (1 - p) ** (n - c) * (1 - (1 - c / n) ** k) for c in range(n + 1))
    assert k == 1 or abs(naive - mean) > 1e-3  # what it is not


def test_pass_at_k_at_its_ends():
    assert pass_at_k(64, 0, 64) == 0 and pass_at_k(64, 1, 64) == 1 == pass_at_k(64, 64, 1)
    assert pass_at_k(1000, 1, 64) == 0.064  # and no overflow on the way
    assert list(mean_pass_at_k(200, [0])) == [1, 2, 4, 8, 16, 32, 64] and list(mean_pass_at_k(5, [0])) == [1, 2, 4]
    assert mean_pass_at_k(2, [0, 1, 2]) == {1: 0.5, 2: pytest.approx(2 / 3)}


def test_an_evaluation_counts_the_answers_to_each_problem(tmp_path):
    trainer = build(experiment(tmp_path, *SAMPLED), (0,))
    noise = trainer.noise.at_step(3)
    found = evaluate(trainer.env, trainer.policy, noise, "test", 8, n=5)
    problems = held_out_problems(trainer.env, "test", 8)
    uniforms = noise.uniform("eval", 8 * 5 * 4).view(8, 5, 4)
    drawn = evaluation.complete(trainer.env, trainer.policy, problems, uniforms)
    solved = torch.tensor([grade.solved for grade in drawn.grades()]).view(8, 5)
    assert found.right == solved.sum(1).tolist()
    metrics = {name: value.item() for name, value in found.metrics.items()}
    assert metrics["test_accuracy"] == metrics["test_pass_at_1"] == pytest.approx(solved.float().mean().item())
    assert metrics["test_unsolved"] == pytest.approx((~solved.any(1)).float().mean().item())
    assert {"test_pass_at_2", "test_pass_at_4", "test_greedy"} <= metrics.keys() and "test_pass_at_8" not in metrics
    logp = torch.where(drawn.tokens >= 0, drawn.logp, 0)
    assert metrics["test_entropy_per_answer"] == pytest.approx(-logp.sum(-1).mean().item(), rel=1e-5)
    assert metrics["test_entropy"] == pytest.approx(-(logp.sum() / (drawn.tokens >= 0).sum()).item(), rel=1e-5)
    shown = [sample for sample in found.samples if not sample["greedy"]]
    assert [sample["completion"] for sample in shown] == drawn.texts[::5][:4]


def test_one_sample_is_what_was_drawn_before_there_was_a_choice(tmp_path):
    ours, more = (experiment(tmp_path, *TINY, f"train.eval_samples={n}") for n in (1, 2))
    config = ours.config | {"train": {k: v for k, v in ours.config["train"].items() if k != "eval_samples"}}
    assert run_id(config) == run_id(ours.config) != run_id(more.config)
    trainer = build(ours, (0,))
    uniforms = trainer.noise.uniform("eval", 8 * 4).view(8, 1, 4)
    drawn = evaluation.complete(trainer.env, trainer.policy, held_out_problems(trainer.env, "test", 8), uniforms)
    found = evaluate(trainer.env, trainer.policy, trainer.noise, "test", 8)
    assert found.right == [int(grade.solved) for grade in drawn.grades()]


class Scripted:
    """Evaluations whose numbers of right answers are given."""

    def __init__(self, *right):
        self.right = iter(right)

    def __call__(self, env, policy, noise, split, count, n):
        return evaluation.Evaluation({}, [], next(self.right))


def test_problems_that_were_never_solved_are_followed_through_a_resumed_run(tmp_path, monkeypatch):
    exp = experiment(tmp_path, *SAMPLED)
    scripted = Scripted([0, 3, 0, 0], [1, 0, 0, 0], [2, 0, 5, 0])
    monkeypatch.setattr("training.observers.held_out.evaluate", scripted)
    run = execute(exp, Console(quiet=True)).run
    stored = run.frame().pivot_table(index="step", columns="metric", values="value")
    assert stored.test_newly_solved.dropna().to_dict() == {2: pytest.approx(1 / 3), 4: pytest.approx(2 / 3)}
    monkeypatch.setattr("training.observers.held_out.evaluate", Scripted([0, 3, 0, 0], [1, 0, 0, 0], [2, 0, 5, 0]))
    monkeypatch.setattr("training.observers.held_out.before_training", {})
    whole = build(exp, (0,))
    whole.run(lambda t: checkpoint.save(run, t, 1.0) if t.step == 2 else None)
    monkeypatch.setattr("training.observers.held_out.evaluate", Scripted([2, 0, 5, 0]))
    again = build(exp, (0,))
    checkpoint.restore(run, again)
    again.run()
    assert curves(again) == curves(whole)
    older = build(exp, (0,))  # its checkpoint is of a time when this was not kept
    older.load_state_dict({k: v for k, v in whole.state_dict().items() if k != "observers"})
    assert older.observers.state_dict()["HeldOutEvaluation"] == {}


def test_where_all_were_solved_at_first_there_is_no_share(tmp_path, monkeypatch):
    monkeypatch.setattr("training.observers.held_out.evaluate", Scripted([5], [0], [0]))
    trainer = build(experiment(tmp_path, *SAMPLED), (0,))
    assert "test_newly_solved" not in trainer.run().values


def test_runs_that_start_from_one_model_share_the_evaluation_before_it_is_trained(tmp_path, monkeypatch):
    steps = []

    def counted(env, policy, noise, *args, **kwargs):
        steps.append(noise.step)
        return evaluate(env, policy, noise, *args, **kwargs)

    monkeypatch.setattr("training.observers.held_out.evaluate", counted)
    ours, other = (build(experiment(tmp_path, *SAMPLED, f"algo={algo}"), (0,)) for algo in ("tpo", "pg"))
    ours.run()
    other._measure_before_the_first_step(lambda trainer: None)
    assert other.evaluation_seconds > other.evaluating == 0  # what it takes, and what it took of this run's time
    other.run()
    assert steps == [0, 2, 4, 2, 4]
    first = [{name: v[0].item() for name, v in t.history.values.items() if "test" in name} for t in (ours, other)]
    assert first[0] == first[1] and "test_entropy" in first[0]
    drawn = [[s for s in t.take_samples() if s["step"] == 0] for t in (ours, other)]
    assert drawn[0] == drawn[1] and len(drawn[0]) == 8
    for setting in ("train.eval_samples=2", "train.eval_problems=4", "train.eval_split=validation", "model.hidden=16"):
        settings = [s for s in SAMPLED if s.partition("=")[0] != setting.partition("=")[0]]
        different = build(experiment(tmp_path, *settings, setting), (0,))
        different.observers.on_start(different)
    another, changed = (build(experiment(tmp_path, *SAMPLED), (seed,)) for seed in (1, 0))
    with torch.no_grad():
        next(changed.policy.parameters()).add_(0.1)
    for trainer in (another, changed):
        trainer.observers.on_start(trainer)
    assert steps[5:] == [0] * 6


def test_rollouts_say_how_many_groups_teach_nothing(tmp_path):
    trainer = build(experiment(tmp_path, *TINY), (0,))
    values = {name: value[0].item() for name, value in trainer.run().values.items()}
    rollout = build(experiment(tmp_path, *TINY), (0,)).rollout(Noise((0,)).at_step(1))
    score, mask, old = rollout.batch.score, rollout.batch.mask, rollout.batch.logp_old
    assert values["zero_variance_share"] == pytest.approx((score.std(-1) == 0).float().mean().item())
    assert values["entropy_per_answer"] == pytest.approx(-(old * mask).sum(-1).mean().item())
    assert values["entropy"] == pytest.approx(values["entropy_per_answer"] / values["length"], rel=1e-5)


def test_the_progress_leaves_the_time_of_evaluations_out(tmp_path, monkeypatch):
    clock = iter([0.0, 100.0])  # the reporter starts, and shows
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    trainer, said = build(experiment(tmp_path, *SAMPLED, "train.steps=9"), (0,)), io.StringIO()
    with Reporter("title", Console(file=said, width=400)) as report:
        monkeypatch.undo()
        trainer.step = 0
        trainer._record(trainer.observers.on_start(trainer))
        trainer.train_step()
        trainer.evaluating, trainer.evaluation_seconds = 90.0, 30.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
        report(trainer)
    line = said.getvalue()
    assert "step 1/9" in line and "10.0 s/step, 80 s left and 5 evaluations of 30 s" in line
    assert re.search(r"test pass@1 [\d.]+% pass@4 [\d.]+%", line) and "% of groups all alike" in line
    assert "nats per token" in line
    trainer.step = 8
    assert time_left(trainer, 0.5) == "2 s left and 1 evaluation of 30 s"
    trainer.step = 9
    assert time_left(trainer, 0.5) == "0 s left"


def test_without_an_evaluation_none_is_shown(tmp_path):
    trainer = build(experiment(tmp_path, *TINY), (0,))
    assert held_out(trainer) == [] and time_left(trainer, 2.0) == "2 s left"
