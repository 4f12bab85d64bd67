"""Text problems of the user's own: trained, stored, resumed, swept, shown, and identified by the content of files."""

import json
import pickle
import re
import shutil
import subprocess
import sys

import pytest
from rich.console import Console

from analysis.command import main as analysis
from envs.rlvr import sources, tokens
from envs.rlvr.text import Text
from store.command import main as store
from store.identity import run_id
from store.runs import RunStore
from tests.helpers import ROOT, experiment
from tests.own_text import SHARES, TINY, overrides, row, text, write
from training import checkpoint
from training.experiment import build, execute

CLOCK = {"rollout_tokens_per_second", "update_tokens_per_second"}
FAILS_ON_DIGITS = (
    'def score(completion, row):\n    if row["kind"] == "digits" and completion != row["answer"]:\n'
    '        return row["absent"]\n    return 0.5\n'
)


@pytest.fixture
def own(tmp_path):
    return write(tmp_path / "own")


def curves(trainer) -> dict:
    return {name: values.tolist() for name, values in trainer.history.arrays().items() if name not in CLOCK}


def test_a_sweep_is_stored_ranked_and_shown_and_its_model_trains_on(cli, own, capsys):
    code, out = cli("-m", "algo=tpo,grpo", *overrides(own))
    assert code == 0 and "TPO" in out and "GRPO" in out and "not graded" not in out
    runs = list(RunStore(own.parent / "runs").runs())
    assert [run.config()["algo"]["name"] for run in runs] == ["grpo", "tpo"]
    frame = runs[1].frame().pivot_table(index="step", columns="metric", values="value")
    assert len(frame.reward.dropna()) == 4 and frame.test_accuracy.dropna().index.tolist() == [0, 2, 4]
    assert not frame[["verifier_crashes", "verifier_timeouts", "verifier_invalid", "test_ungraded"]].any(axis=None)
    assert analysis(["samples", runs[1].path.name]) == 0 and analysis(["table", "text"]) == 0
    shown = capsys.readouterr().out
    assert "seed 0, step 4, test, sampled" in shown and "(right: 'ab')" in shown
    folder = runs[1].path / "policy" / "seed_0"
    ours = [o for o in overrides(own) if not o.startswith("model.")]
    code, out = cli(*ours, f"model={folder}", "model.dtype=float32", "train.steps=1")
    assert code == 0 and "model.path" not in out


def test_a_model_learns_what_the_function_pays_for(tmp_path, own):
    sizes = ("env.batch=8", "env.candidates=16", "model.hidden=32", "train.steps=25", "train.eval_every=null")
    trainer = build(experiment(tmp_path, *overrides(own), *sizes, "algo=grpo"), (0,))
    reward = trainer.run().arrays()["reward"][:, 0]
    assert reward[-3:].mean() > reward[:3].mean() + 0.1


def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path, own):
    exp = experiment(tmp_path, *overrides(own))
    run = execute(exp, Console(quiet=True)).run
    whole, again = build(exp, (0,)), build(exp, (0,))
    whole.run(lambda t: checkpoint.save(run, t, 1.0) if t.step == 2 else None)
    checkpoint.restore(run, again)
    assert again.step == 2
    again.run()
    assert curves(again) == curves(whole)


def test_what_cannot_be_graded_is_counted_and_shown(cli, tmp_path):
    folder = write(tmp_path / "own", FAILS_ON_DIGITS)
    code, out = cli(*overrides(folder), "env.batch=6", "train.eval_problems=64")
    assert code == 0
    (run,) = RunStore(tmp_path / "runs").runs()
    totals = run.frame().groupby("metric").value.sum()
    assert 0 < totals.verifier_crashes < 4 * 24 and totals.test_ungraded > 0 == totals.verifier_timeouts
    count = int(totals.verifier_crashes + totals.test_ungraded)
    assert f"{count} not graded (score.py, line 3: KeyError: 'absent')" in out
    assert analysis(["samples", str(run.path)]) == 0
    assert {sample["status"] for sample in run.samples()} == {"ok", "crash"}


@pytest.mark.parametrize("where", ["evaluation", "training"])
def test_a_run_in_which_nothing_can_be_graded_stops_with_the_reason(cli, tmp_path, where):
    code = "def score(completion, row):\n    return 1.0 if completion == row.get('answer') else row['absent']\n"
    folder = write(tmp_path / "own", code)
    if where == "training":  # the held-out rows have what the function needs
        rows = "".join(f'{{"prompt": "q{i}", "absent": 1}}\n' for i in range(9))
        (folder / "test.jsonl").write_text(rows)
    extra = [f"env.test_data={folder / 'test.jsonl'}"] if where == "training" else []
    code, out = cli(*overrides(folder), *extra)
    assert code == 1 and "could be graded, first: score.py, line 2: KeyError: 'absent'" in out
    assert "Traceback" not in out


def test_contents_tell_runs_apart_and_paths_do_not(tmp_path, own, capsys):
    def same(folder, *others):
        return run_id(experiment(tmp_path, *overrides(folder), *others).config) == first

    exp = experiment(tmp_path, *overrides(own))
    first = run_id(exp.config)
    assert re.fullmatch(r"[0-9a-f]{12}", exp.env.content_hash) and exp.config["env"]["reward"].startswith(str(own))
    moved = shutil.copytree(own, tmp_path / "elsewhere")
    (moved / "score.py").rename(moved / "grade.py")
    assert same(moved, f"env.reward={moved / 'grade.py'}:score")
    (own / "shares.py").write_text(SHARES.replace("isalpha", "isupper"))
    assert not same(own)
    (own / "shares.py").write_text(SHARES)
    assert same(own)
    with (own / "problems.jsonl").open("a") as file:
        file.write('{"prompt": "one more"}\n')
    assert not same(own)
    assert execute(exp, Console(quiet=True)).status == "done"
    assert store(["export", "--runs-dir", str(exp.runs_dir), "--out", str(tmp_path / "results")]) == 0
    assert str(tmp_path).encode() not in (tmp_path / "results" / "text.parquet").read_bytes()


def test_a_given_hash_is_checked_and_another_process_opens_the_files_again(own, monkeypatch):
    env = text(own)
    assert text(own, content_hash=env.content_hash) == env
    with pytest.raises(ValueError, match=f"^content_hash=abc: must be null, or {env.content_hash}"):
        text(own, content_hash="abc")
    monkeypatch.setattr(sources, "_opened", {})
    again = pickle.loads(pickle.dumps(env))
    assert [p.prompt for p in again.problems("test")] == [p.prompt for p in env.problems("test")]
    (own / "problems.jsonl").write_text((own / "problems.jsonl").read_text() + '{"prompt": "late"}\n')
    sources._opened.clear()
    with pytest.raises(ValueError, match="content_hash="):
        again.problems("test")


def test_splits_are_by_hash_or_by_file(own):
    env, train = text(own), "".join(f'{{"prompt": "q{i}"}}\n' for i in range(3))
    by_hash = {split: {p.prompt for p in env.problems(split)} for split in ("train", "validation", "test")}
    assert sorted(map(len, by_hash.values())) > [0, 0, 50] and sum(map(len, by_hash.values())) == 80
    (own / "other.jsonl").write_text(train)
    by_file = text(own, test_data=str(own / "other.jsonl"))
    assert [p.prompt for p in by_file.problems("test")] == ["q0", "q1", "q2"]
    assert {p.prompt for p in by_file.problems("train")} == by_hash["train"] | by_hash["test"]
    assert {p.prompt for p in by_file.problems("validation")} == by_hash["validation"]
    assert by_file.content_hash != env.content_hash


def test_a_new_line_of_a_template_can_be_typed(own, tmp_path):
    (typed,) = re.findall(r"`'(env\.template=.*?)'`", (ROOT / "docs" / "text.md").read_text())
    assert "\\n" in typed  # as a shell hands it over: a backslash and an n
    env = experiment(tmp_path, *overrides(own), typed).env
    assert env.problems("train")[0].prompt.startswith("Question: ")
    assert env.problems("train")[0].prompt.endswith("\nAnswer: ")
    puzzles = experiment(tmp_path, "env=products", "model=tiny_qwen3", r"env.template='Q: {question}\nA:'").env
    assert (
        puzzles.problems("train")[0].prompt.endswith("\nA:")
        and puzzles == experiment(tmp_path, "env=products", "model=tiny_qwen3", "env.template='Q: {question}\nA:'").env
    )


def test_prompts_go_through_template_and_chat_template_and_rows_reach_the_function(own):
    (own / "score.py").write_text('def score(completion, row):\n    return row["level"] == 3 and completion == "é"\n')
    rows = [row(i) | {"level": 3} for i in range(60)]
    rows[0]["answer"] = ["a", 1]
    (own / "problems.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    env = text(own, template="Q: {prompt}\nA:")
    problem = next(p for split in ("train", "test", "validation") for p in env.problems(split) if p.facts == rows[0])
    assert problem.prompt == f"Q: {rows[0]['prompt']}\nA:" and problem.answer == '["a", 1]'
    assert [(g.score, g.solved) for g in env.grade([problem] * 2, ["é", "e"])] == [(1, True), (0, False)]
    tokenizer = pickle.loads(pickle.dumps(tokens.utf8()))
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ enable_thinking }}"
    for options, end in (({}, "False"), ({"thinking": True}, "True")):
        chat = text(own, **options)
        assert tokens.decode(chat.encode(problem, tokenizer), tokenizer) == f"<user>{problem.prompt}{end}"
    assert tokens.decode(text(own, chat="never").encode(problem, tokenizer), tokenizer) == f"<bos>{problem.prompt}"


def test_a_completion_ends_at_a_stop(own, tmp_path):
    (own / "score.py").write_text("def score(completion, row):\n    return completion == 'ab'\n")
    exp = experiment(tmp_path, *overrides(own), r"env.stop='\n'")
    problem = exp.env.problems("train")[0]
    assert [grade.score for grade in exp.env.grade([problem] * 2, ["ab\nc", "abc"])] == [1, 0]
    assert "\n" in map(tokens.utf8().decode, build(exp, (0,)).policy.engine.stops)


def test_a_long_prompt_is_refused_before_any_training(cli, own):
    with (own / "problems.jsonl").open("a") as file:
        file.writelines(json.dumps({"prompt": f"{i} " + "long " * 60}) + "\n" for i in range(9))
    code, out = cli(*overrides(own), "model.window=200")
    assert code == 1 and "step 1" not in out
    assert "lo) does not fit into the model's window of 200; shorten it, or leave it out" in out


def test_rows_with_one_prompt_are_shown_each(cli, own):
    (own / "test.jsonl").write_text("".join(json.dumps(row(0) | {"answer": str(i)}) + "\n" for i in range(3)))
    rows = (json.dumps(row(i)) for i in range(1, 60))
    (own / "problems.jsonl").write_text("\n".join(rows))
    code, _ = cli(*overrides(own), f"env.test_data={own / 'test.jsonl'}", "train.steps=1")
    (run,) = RunStore(own.parent / "runs").runs()
    shown = [sample["answer"] for sample in run.samples() if sample["step"] == 1 and not sample["greedy"]]
    assert code == 0 and shown == ["0", "1", "2"]


def test_a_policy_that_cannot_be_saved_is_trained_on_from_its_checkpoint(cli, own, monkeypatch):
    def fail(*args):
        raise OSError("no space left")

    with monkeypatch.context() as full:
        full.setattr("models.language.LanguagePolicy.export", fail)
        code, out = cli(*overrides(own), "train.checkpoint_every=1")
    assert code == 1 and "no space left" in out
    code, out = cli(*overrides(own), "train.checkpoint_every=1")
    (run,) = RunStore(own.parent / "runs").runs()
    assert code == 0 and "resumed at step" in out and (run.path / "policy" / "seed_0" / "model.safetensors").exists()


def test_a_warm_start_needs_answers(cli, own):
    warm = ("model.warm_accuracy=0.01", "model.warm_steps=1", "model.warm_batch=4", "train.steps=1")
    code, out = cli(*overrides(own), *warm)
    assert code == 0 and "warm start" in out
    with (own / "problems.jsonl").open("a") as file:
        file.writelines(f'{{"prompt": "no answer {i}"}}\n' for i in range(9))
    code, out = cli(*overrides(own), *warm)
    assert code == 2 and "model.warm_accuracy=0.01: env=text has training rows without an answer" in out


def test_the_example_of_the_page_works_as_it_stands(cli, tmp_path):
    blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / "docs" / "text.md").read_text(), re.DOTALL | re.MULTILINE)
    files, commands = blocks[:2]
    subprocess.run(["bash", "-ec", files.replace("python ", f"{sys.executable} ")], cwd=tmp_path, check=True)
    small = [o for o in TINY if o.startswith("model.")]
    trained = [line.split()[2:] for line in commands.splitlines() if line.startswith("python run.py")]
    for args in trained:
        code, out = cli(*args, *small, "train.steps=2", "train.eval_problems=4")
        assert code == 0, out
    assert len(trained) == 2 and "2 jobs, 1 to train" in out and analysis(["table", "text"]) == 0


def test_the_page_names_every_setting():
    page = (ROOT / "docs" / "text.md").read_text()
    for name in Text.__dataclass_fields__:
        assert f"env.{name}" in page, name
