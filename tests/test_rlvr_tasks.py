"""Tasks for language models: splits, tokenizers, prompts, right and wrong answers, and data that cannot be had."""

import copy
import dataclasses
import json
import os
import re
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from envs.rlvr import gym, tokens
from envs.rlvr.arithmetic import Arithmetic
from envs.rlvr.graders import GRADERS, canonical, strict
from envs.rlvr.gsm8k import GSM8K, load
from envs.rlvr.gym import ReasoningGym
from envs.rlvr.rules import CHECKED, reasoning_gym
from envs.rlvr.splits import split_of
from tests.helpers import node_of
from training.noise import Noise

GOLD = ("18", "1,200", "-5", "0", "2.5", "70000", "3", "1,234,567", "10", "05", "100", "7.")


def write_gsm8k(folder):
    """train.jsonl with sixty problems and test.jsonl with twelve, in the form of the published files."""
    for name, count in (("train", 60), ("test", 12)):
        rows = [
            {
                "question": f"In {name} box {i} there are {{some}} coins. How many?",
                "answer": f"Count.\n#### {GOLD[i % 12]}",
            }
            for i in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_gsm8k(tmp_path)


def wrong(gold: str) -> list[str]:
    """Numbers near a right one, and ways to say more than one."""
    flipped = gold[1:] if gold.startswith("-") else f"-{gold}" if gold != "0" else "1"
    return [
        flipped,
        gold + "1",
        f"1{gold}".replace("1-", "-1"),
        f"{gold} or 7",
        f"{gold}/1",
        f"{gold}e0",
        f"(7) {gold}",
        "",
    ]


def check_gold(env, split):
    """Every gold answer is right, in every spelling that the rule allows, and every perturbed one is wrong."""
    problems = list(env.problems(split))
    assert all(grade.solved for grade in env.grade(problems, [p.answer for p in problems]))
    for spell in ("#### {}", "#### ${}.", "text\n####{}\nmore text", "#### 1\n####  {}  "):
        texts = [spell.format(p.facts["answer"]) for p in problems]
        assert all(grade.solved and grade.score == 1 for grade in env.grade(problems, texts))
    for i in range(len(wrong("1"))):
        texts = [f"{p.answer}\n#### {wrong(p.facts['answer'])[i]}" for p in problems]
        assert not any(grade.solved or grade.score for grade in env.grade(problems, texts))
    return len(problems)


def test_gold_answers_are_right_and_perturbed_ones_wrong(folder):
    env = GSM8K(data_dir=str(folder), grader="strict")
    assert sum(check_gold(env, split) for split in ("train", "validation", "test")) == 72


@pytest.mark.slow
@pytest.mark.skipif("GSM8K_DIR" not in os.environ, reason="GSM8K_DIR names no folder with the published files")
def test_the_published_gold_answers_are_right_and_perturbed_ones_wrong():
    assert check_gold(GSM8K(data_dir=os.environ["GSM8K_DIR"], grader="strict"), "test") == 1319


def test_the_rule_asks_for_one_number_alone():
    facts = {"answer": "-1234.5", "marker": "####"}
    for text in ("#### -1,234.50", "#### -$1234.5.", "####-1234.5", "a #### 3 b\n#### $-001234.50\n"):
        assert strict(facts, text) == (1.0, True), text
    for text in ("-1234.5", "#### - 1234.5", "#### 12,34.5", "#### --1234.5", "#### -1234.5 3", "#### −1234.5", "####"):
        assert strict(facts, text) == (0.0, False), text
    assert canonical("$-0.00") == "0" and canonical("٣") is None and canonical("1\n") is None


@given(st.integers(-(10**12), 10**12), st.text("0123456789,.$-# \n", max_size=12))
def test_one_number_has_one_spelling(value, text):
    assert canonical(f"{value:,}") == canonical(f" {value}.00. ") == str(value)
    found = canonical(text)
    assert found is None or float(found) == float(text.strip().replace(",", "").replace("$", "").rstrip("."))


@pytest.mark.parametrize("grader", GRADERS)
def test_every_grader_accepts_its_own_right_answers_and_no_other(folder, grader):
    env = GSM8K(data_dir=str(folder), grader=grader)
    problems = list(env.problems("train"))
    assert all(grade.solved for grade in env.grade(problems, [p.answer for p in problems]))
    others = [problems[i - 1] for i in range(len(problems))]
    wrong = [p.facts["answer"] != q.facts["answer"] for p, q in zip(problems, others, strict=True)]
    grades = env.grade(problems, [q.answer for q in others])
    assert sum(wrong) > 40 and [grade.solved for grade in grades] == [not each for each in wrong]


@settings(deadline=None)
@given(st.text("0123456789,.$-# \n\\boxedtrm{}%!", max_size=40), st.integers(0, 99))
def test_graders_give_one_verdict_to_any_text(text, value):
    facts = {"answer": str(value), "marker": "####"}
    for grade in GRADERS.values():
        score, solved = grade(facts, text)
        assert score == float(solved) in (0.0, 1.0)
        assert not solved or str(value) in re.sub("[^0-9]", "", text)


def test_a_box_is_read_up_to_its_own_brace():
    facts = {"answer": "1200", "marker": "####"}
    boxed = GRADERS["boxed"]
    for inside in ("1200", "1,200", "1{,}200", "1\\,200.", "\\$1200", " 1200 \\text{ dollars {net}}", "1200\\%"):
        assert boxed(facts, f"so \\boxed{{{inside}}} it is") == (1.0, True), inside
    for text in ("\\boxed{1200", "\\boxed{1200} \\boxed{7}", "\\boxed{1200 or 7}", "\\boxed{12{00}}", "boxed{1200}"):
        assert boxed(facts, text) == (0.0, False), text


def test_splits_share_no_question(folder):
    for env in (Arithmetic(digits=1), GSM8K(data_dir=str(folder)), ReasoningGym()):
        asked = []  # in an order of terms that is nobody's
        for split in ("train", "validation", "test"):
            problems = env.problems(split)
            some = range(min(len(problems), 60))
            asked.append({"+".join(sorted(problems[i].prompt.rstrip("=").split("+"))) for i in some})
            assert [problems[i] for i in some] == [env.problems(split)[i] for i in some]
        assert all(asked) and not (asked[0] & asked[1] or asked[0] & asked[2] or asked[1] & asked[2])
    assert split_of("what is asked") == "train" and split_of("5,7") == "validation"  # the same on every machine


def test_contexts_are_training_problems_of_each_seed():
    env = Arithmetic(batch=5)
    drawn = env.contexts(Noise((0, 3)).at_step(1))
    assert drawn.shape == (2, 5) and (drawn >= 0).all() and (drawn < len(env.problems("train"))).all()
    assert (drawn == env.contexts(Noise((3,)).at_step(1))[0]).all(1).tolist() == [False, True]


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=30))
@example("<bos>1<eos>")
def test_bytes_say_any_text(text):
    tokenizer, text = tokens.utf8(), text.encode(errors="replace").decode()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(tokenizer) == 260 and len(ids) == len(text.encode())
    assert tokens.decode([*ids, tokenizer.eos_token_id], tokenizer) == text


def test_the_token_that_ended_a_completion_is_not_graded():
    tokenizer = tokens.characters("0123456789+=")
    one, two, plus = (tokenizer.convert_tokens_to_ids(text) for text in "12+")
    assert tokens.decode([one, two, tokenizer.eos_token_id], tokenizer) == "12"
    assert tokens.decode([one, two, plus], tokenizer) == "12+"
    assert tokens.decode([one, two, plus], tokenizer, [tokenizer.eos_token_id, plus]) == "12"
    assert tokens.decode([one, plus, two], tokenizer, [plus]) == "1+2"


def test_sums_in_sixteen_tokens():
    env = Arithmetic(terms=3, digits=2)
    tokenizer, problem = env.tokenizer(), env.problems("test")[0]
    ids = env.encode(problem, tokenizer)
    assert len(tokenizer) == 16 and ids[0] == tokenizer.bos_token_id and len(ids) == len(problem.prompt) + 1
    answer = tokenizer(problem.answer, add_special_tokens=False)["input_ids"]
    assert int(tokens.decode(answer, tokenizer)) == sum(map(int, problem.prompt.rstrip("=").split("+")))
    # what is between the digits counts, too
    for disguised in ([answer[0], tokenizer.pad_token_id, *answer[1:]], [tokenizer.bos_token_id, *answer], answer * 2):
        assert not env.grade([problem], [tokens.decode(disguised, tokenizer)])[0].solved


def test_working_may_be_wrong_where_the_total_is_right():
    env = Arithmetic(terms=3, digits=1, working=True, max_new_tokens=6)
    problem = env.problems("test")[0]
    first, last = problem.answer.split("=")
    a, b, c = map(int, problem.prompt.rstrip("=").split("+"))
    assert (int(first), int(last)) == (a + b, a + b + c)
    texts = [problem.answer, last, f"0={last}", f"{problem.answer}=", f"{last}={first}0", f"{first}= {last}"]
    assert [grade.solved for grade in env.grade([problem] * 6, texts)] == [True] * 3 + [False] * 3
    assert problem.prompt == Arithmetic(terms=3, digits=1).problems("test")[0].prompt


def test_chat_templates_are_used_where_there_are_some(folder):
    env, tokenizer = GSM8K(data_dir=str(folder)), copy.deepcopy(tokens.utf8())
    problem = env.problems("test")[0]
    assert tokens.decode(env.encode(problem, tokenizer), tokenizer) == f"<bos>{problem.prompt}"
    with pytest.raises(ValueError, match=r"chat=always.*has no chat template; use env.chat=auto or"):
        GSM8K(data_dir=str(folder), chat="always").encode(problem, tokenizer)
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ enable_thinking }}"
    assert tokens.decode(env.encode(problem, tokenizer), tokenizer) == f"<user>{problem.prompt}False"
    tokenizer.pad_token = None  # nothing is padded by it
    assert env.encode(problem, tokenizer)
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match=r"eos_token=null.*must have one"):
        env.encode(problem, tokenizer)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda path: path.unlink(), "a folder that holds test.jsonl"),
        (lambda path: path.write_text(""), "test.jsonl is not empty"),
        (lambda path: path.write_text(path.read_text()[:-9]), "test.jsonl line 12 is no JSON, or cut off"),
        (lambda path: path.write_text('{"question": "a", "answer": "4"}\n'), "line 1 must have the texts.*#### NUMBER"),
        (lambda path: path.write_text('{"question": "a", "answer": "#### x"}'), "line 1 must have the texts"),
        (lambda path: path.write_text("[1]"), "line 1 must have the texts"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "cannot read test.jsonl"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot read test.jsonl .*directory"),
    ],
    ids=["missing", "empty", "truncated", "no_marker", "no_number", "no_object", "no_text", "unreadable"],
)
def test_bad_files_are_named_with_what_was_found(folder, damage, text):
    damage(folder / "test.jsonl")
    load.cache_clear()
    with pytest.raises(ValueError, match=f"^data_dir=.*{text}"):
        GSM8K(data_dir=str(folder))


def test_without_libraries_the_way_to_them_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"pip install -c constraints.txt datasets.*env\.data_dir.*env=arithmetic"):
        GSM8K()
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    gym.puzzles.cache_clear()
    with pytest.raises(ValueError, match=r"task_name=graph_color.*\[rlvr\]"):
        ReasoningGym()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Arithmetic(terms=1), "terms=1: must be between 2"),
        (lambda: Arithmetic(digits=9), "max_new_tokens=8: must be >= 11"),
        (lambda: Arithmetic(terms=3, working=True), "max_new_tokens=8: must be >= 10"),
        (lambda: Arithmetic(batch=0), "batch=0: must be >= 1"),
        (lambda: ReasoningGym(task_name="countdown"), "evaluates the answer as code; allowed: .*graph_color"),
        (lambda: ReasoningGym(task_name="number_sorting"), "a list of NaN the full score"),
        (lambda: ReasoningGym(task_name="maze"), "was not checked"),
        (lambda: ReasoningGym(options={"colours": 3}), "options=.*refused by Reasoning Gym's graph_color.*colours"),
        (lambda: ReasoningGym(options={"num_colors": "two"}), "options=.*two.*refused by Reasoning Gym"),
        (lambda: ReasoningGym(template="x"), "template='x': must be a text with {question}"),
        (lambda: ReasoningGym(shots=-1), "shots=-1: must be between 0 and 64"),
        (lambda: ReasoningGym(stop="ab"), "stop='ab': must be null or one character of ASCII"),
        (lambda: ReasoningGym(stop="n"), "stop='n': must be null or one character of ASCII that is no letter or digit"),
        (lambda: ReasoningGym(stop="é"), "stop='é': must be null or one character of ASCII"),
        (lambda: ReasoningGym(chat="yes"), "chat=yes: must be one of auto, always, never"),
        (lambda: GSM8K(marker="a\nb"), "marker='a.nb': must be one line"),
        (lambda: GSM8K(grader="verl"), "grader=verl: must be one of strict, published, boxed, numbers"),
    ],
)
def test_impossible_settings_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_a_generator_that_tries_for_ever_is_given_up(monkeypatch):
    monkeypatch.setattr(gym, "SECONDS", 0.1)
    monkeypatch.setattr(gym, "_make", lambda *_: time.sleep(1))
    with pytest.raises(ValueError, match=r"options=.*num_colors.*makes no puzzle of them in 0\.1 s"):
        ReasoningGym(options={"num_colors": 2, "edge_probability": 0.99})


def test_puzzles_have_the_librarys_score_and_a_share_solved():
    for task in CHECKED:
        env = ReasoningGym(task_name=task)
        problems = [env.problems("test")[i] for i in range(3)]
        assert all(grade.solved for grade in env.grade(problems, [p.answer for p in problems]))
    env = ReasoningGym()
    problems = [env.problems("train")[i] for i in range(2)]
    assert [(g.score, g.solved) for g in env.grade(problems, ["{}", "no JSON"])] == [(0.01, False), (0, False)]
    unshaped = ReasoningGym(shaping=False)
    problems = [unshaped.problems("train")[i] for i in range(2)]
    assert [g.score for g in unshaped.grade(problems, ["{}", problems[1].answer])] == [0, 1]


def configured(name: str) -> ReasoningGym:
    """The task that conf/env/<name>.yaml configures."""
    node = OmegaConf.to_container(node_of("env", name).env)
    return ReasoningGym(**{key: value for key, value in node.items() if key not in ("name", "label", "task")})


LADDER = ("calendar_arithmetic", "chain_sum", "count_bits", "gcd", "letter_counting", "products", "word_sorting")


@pytest.mark.parametrize("name", LADDER)
def test_puzzles_for_a_pretrained_model_are_answered_in_a_line(name):
    env, tokenizer = configured(name), tokens.utf8()
    problems = [env.problems(split)[i] for split in ("train", "test") for i in range(20)]
    texts = [f" {p.answer} \nQuestion: what else?" for p in problems]
    assert all(grade.solved and grade.score == 1 for grade in env.grade(problems, texts))
    assert not any(grade.score for grade in env.grade(problems, [f"\n{text}" for text in texts]))
    for problem in problems:
        assert len(tokenizer(f" {problem.answer}\n")["input_ids"]) - 1 <= 2 + 4 * env.max_new_tokens
        assert problem.prompt.count(f"{puzzle_form(env)}") == env.shots + 1
        assert not problem.prompt.endswith((" ", "\n"))


def puzzle_form(env: ReasoningGym) -> str:
    """What stands in front of every question."""
    return env.template.partition("{question}")[0] or "State the final answer"


@pytest.mark.parametrize("shots", [1, 3, 8])
def test_examples_are_solved_right_and_are_in_no_split(shots):
    env = ReasoningGym(task_name="products", options={"max_digits": 1}, template="Q: {question}\nA:", shots=shots)
    plain = dataclasses.replace(env, shots=0)
    shown = gym.examples(env)
    assert len(shown) == shots and gym.examples(plain) == {}
    assert all(grade.solved for grade in env.grade(list(shown.values()), [p.answer for p in shown.values()]))
    intro = "".join(f"Q: {question}\nA: {puzzle.answer}\n\n" for question, puzzle in shown.items())
    asked = {}
    for split in ("train", "validation", "test"):
        problems = [env.problems(split)[i] for i in range(1000)]  # of 100 questions
        assert all(p.prompt.startswith(intro) for p in problems)
        asked[split] = {p.prompt.removeprefix(intro) for p in problems}
        of_old = {plain.problems(split)[i].prompt for i in range(1000)}
        assert asked[split] == of_old - {puzzle.prompt for puzzle in shown.values()}
        assert (split == "train") == (asked[split] != of_old)  # held-out problems are what they were


def test_more_examples_than_questions_are_refused():
    with pytest.raises(ValueError, match=r"shots=64: these options make no more than \d+ different questions"):
        ReasoningGym(task_name="count_bits", options={"max_n": 30}, shots=64)


def test_right_words_with_more_behind_them_solve_nothing():
    env = ReasoningGym(task_name="word_sorting")
    problem = env.problems("train")[0]
    words = problem.answer.split(", ")
    texts = [f"{problem.answer}, {problem.answer}", f"{problem.answer}, x", f"{problem.answer},", ", ".join(words[:-1])]
    assert [grade.score for grade in env.grade([problem] * 3, texts[:3])] == [0, 0, 0]
    assert 0 < env.grade([problem], texts[3:])[0].score < 1
    assert env.grade([problem], [problem.answer.replace(", ", ",")])[0].solved


def test_numbers_of_the_calendar_are_scored_within_bounds():
    """The library divides by the right number: a right one of -1 would make every error a gain."""
    entry = {"answer": "-1", "metadata": {"task": "recurring_event_day"}}
    facts = {"task_name": "calendar_arithmetic", "entry": entry, "shaping": True}
    assert reasoning_gym(facts, "-1") == (1.0, True)
    for text in ("5", "0", "-2", "-1000000", "1" * 400, "-1 or 5", "Yes"):
        assert reasoning_gym(facts, text) == (0.0, False), text
    entry["answer"] = "14"
    for text in ("1" * 400, "-" + "9" * 300, "9" * 5000):
        assert reasoning_gym(facts, text) == (0.0, False)
    assert 0.5 < reasoning_gym(facts, "15")[0] < 1


def test_a_stop_is_one_character():
    plain, stopped = (ReasoningGym(task_name="gcd", stop=stop) for stop in (None, "\\n"))
    assert stopped.stop == "\n" and stopped == ReasoningGym(task_name="gcd", stop="\n")
    assert plain.graded_part(" 5\n6") == " 5\n6" and stopped.graded_part(" 5 \n6") == "5"
    assert stopped.graded_part("5") == "5" and stopped.graded_part("\n5") == ""


def test_hedges_solve_no_puzzle():
    env = ReasoningGym(options={"edge_probability": 0.4})
    problem = env.problems("train")[0]
    right = json.loads(problem.answer)
    for colors in (1, float("nan"), None, [1, 2, 3], "1", 1e999):
        assert not env.grade([problem], [json.dumps(dict.fromkeys(right, colors))])[0].solved
    assert not env.grade([problem], [json.dumps([right, right])])[0].solved
    assert not env.grade([problem], [problem.answer + problem.answer])[0].solved
    env = ReasoningGym(task_name="knights_knaves")
    problem = env.problems("train")[0]
    swapped = problem.answer.replace("knight", "_").replace("knave", "knight").replace("_", "knave")
    for text in (swapped, f"{problem.answer} {swapped}", f"{swapped} {problem.answer}"):
        assert env.grade([problem], [text])[0].score < 1
