"""What users may get wrong in rows and functions of their own, and functions that harm: refused, or counted."""

import json

import pytest

from envs.rlvr import child
from tests.own_text import GOOD, overrides, row, text, write

LINES = [json.dumps(row(i)) for i in range(80)]
BAD_ROWS = {
    "no_json": ('{"prompt": "a"', r"line 3 is no JSON, or cut off: '\{\"prompt\": \"a\"'"),
    "empty_line": ("", "line 3 is no JSON"),
    "nested": ("[" * 99_999, "line 3 is no JSON"),
    "no_object": ('["a"]', r"line 3 must be an object such as .*found '\[\"a\"\]'"),
    "no_prompt": ('{"answer": "a"}', "line 3 has no prompt"),
    "prompt_is_a_number": ('{"prompt": 3}', "line 3: prompt must be a text .*found '3'"),
    "prompt_is_empty": ('{"prompt": ""}', "line 3: prompt must be a text"),
    "prompt_is_half_a_pair": ('{"prompt": "\\ud800"}', "line 3: prompt holds half of a surrogate pair"),
    "answer_is_half_a_pair": ('{"prompt": "a", "answer": "\\ud800"}', "line 3: answer holds half"),
    "part_of_an_answer_is_half_a_pair": ('{"prompt": "a", "answer": ["\\ud800"]}', "line 3: answer holds half"),
}
BAD_REWARDS = {
    "score.py": "must be a file and a function in it, FILE.py:NAME",
    "score:score": "must be a file and a function in it",
    "score.txt:score": "must be a file and a function in it",
    "absent.py:score": "no such file",
    "score.py:absent": "score.py has no function absent; it has: score, one, strict, reads, percent, raises",
    "score.py:NUMBER": "score.py has no function NUMBER",
    "score.py:one": r"score.py, line 8: one\(completion\) must take two arguments: one\(completion, row\)",
    "score.py:strict": r"score.py, line 10: strict\(completion, row, \*, strict\) must take two arguments",
    "score.py:raises": "score.py, line 19: KeyError: 'absent'",
    "score.py:reads": r"works only without limits \(score.py, line 13: .*open files.*env.unsafe_in_process=true",
    "score.py:percent": r"score.py, line 15: percent returned 100, not a number in \[0, 1\]",
    "broken.py:score": "broken.py, line 2: ZeroDivisionError: division by zero",
    "unreadable.py:score": "unreadable.py, line 1: SyntaxError",
    "leaves.py:score": "its process ended .exit code 3., at importing it",
    "imports.py:score": "imports.py, line 1: ModuleNotFoundError: No module named 'nump'",
    "waits.py:score": "waits.py, line 2: grading a first answer takes more than 0.5 s",
}
MORE = """NUMBER = 3
def one(completion): pass

def strict(completion, row, *, strict): pass

def reads(completion, row):
    return len(open(__file__).read()) > 0

def percent(completion, row):
    return 100 if completion.strip() == row["answer"] else 0

def raises(completion, row):
    return row["absent"]
"""
HOSTILE = """
import os, sys, time, _socket


def score(completion, row):
    return 1.0 if completion == row["answer"] else eval(completion)


def runs(completion, row):
    if completion != row["answer"]:
        exec(completion)
    return 1
"""
CARELESS = """
import shares


def score(completion, row):
    open({!r}, "a").write("x")
    return shares.share(completion, row["kind"])
"""
SCORES = {"True": 1, "False": 0, "0.25": 0.25, "1": 1, "__import__('numpy').float32(.5)": 0.5}
SCORES |= {"sum([0.1] * 10)": 1, "1 + 1e-9": 1, "-1e-9": 0}
SCORES |= {"__import__('numpy').bool_(True)": 1, "__import__('fractions').Fraction(1, 2)": 0.5}
NO_SCORES = (
    "'0.5'",
    "None",
    "float('nan')",
    "2.0",
    "-2e-6",
    "1 + 2e-6",
    "[1]",
    "1j",
    "float('inf')",
    "__import__('numpy').ones(2)",
)


@pytest.fixture
def own(tmp_path):
    return write(tmp_path / "own")


@pytest.mark.parametrize("line", BAD_ROWS)
def test_a_bad_row_is_named_with_file_line_and_field(own, line):
    bad, message = BAD_ROWS[line]
    (own / "problems.jsonl").write_text("\n".join([*LINES[:2], bad, *LINES[2:]]))
    with pytest.raises(ValueError, match=f"^data={own / 'problems.jsonl'}: {message}") as error:
        text(own)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b'{"prompt": "a"}\n\xff\n', "line 2 is no text in UTF-8"),
        (b'{"prompt": "a"}\n{"prompt": "b"}', "2 rows leave none for .*add rows, or name files: env.validation_data"),
        (None, "no such file; name one that has a row such as"),
    ],
)
def test_a_file_that_is_none_is_named(own, content, message):
    file = own / "problems.jsonl"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(ValueError, match=f"^data={file}: {message}"):
        text(own)
    with pytest.raises(ValueError, match=f"^test_data={own}: cannot be read .Is a directory"):
        text(write(own), test_data=str(own))


def test_lines_of_other_systems_are_read(own):
    (own / "problems.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(LINES).encode() + b"\r\n\r\n")
    assert sum(len(text(own).problems(split)) for split in ("train", "validation", "test")) == 80


def test_a_held_out_prompt_is_in_no_other_split(own):
    (own / "test.jsonl").write_text('{"prompt": "new"}\n' + LINES[4])
    with pytest.raises(ValueError, match=r"^test_data=.*: line 2: prompt is also that of line 5 of data="):
        text(own, test_data=str(own / "test.jsonl"))


@pytest.mark.parametrize("reward", BAD_REWARDS)
def test_a_function_that_cannot_be_used_is_refused_in_one_line(own, reward, monkeypatch):
    monkeypatch.setattr(child, "FIRST_SECONDS", 0.5 if reward.startswith("waits") else 30)
    (own / "score.py").write_text(GOOD.strip("\n") + "\n\n" + MORE)
    (own / "broken.py").write_text("x = 1\nx / 0\n")
    (own / "unreadable.py").write_text("def score(:\n")
    (own / "leaves.py").write_text("import os\nos._exit(3)\n")
    (own / "imports.py").write_text("import nump\n")
    (own / "waits.py").write_text("def score(completion, row):\n    while True: pass\n")
    with pytest.raises(ValueError, match=BAD_REWARDS[reward]) as error:
        text(own, reward=f"{own / reward}")
    assert str(error.value).startswith(f"reward={own / reward}: ") and "\n" not in str(error.value)
    if reward in ("score.py:raises", "score.py:percent"):
        with pytest.raises(ValueError, match=BAD_REWARDS[reward]):
            text(own, reward=f"{own / reward}", unsafe_in_process=True)


def test_a_mistake_on_the_command_line_ends_with_code_2(cli, own):
    (own / "problems.jsonl").write_text('{"prompt": "a"}\n{"prompt": 3}\n')
    code, out = cli(*overrides(own))
    assert code == 2 and len(out.splitlines()) == 1 and "line 2: prompt must be a text" in out
    code, out = cli("env=text", "model=mlp")
    assert code == 2 and "env.data=null: must be a file with a row on each line" in out
    assert not list((own.parent / "runs").glob("*/*"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": None}, "^data=null: must be a file with a row on each line"),
        ({"reward": None}, "^reward=null: must be a file and a function"),
        ({"template": "Q"}, "^template='Q': must be a text with {prompt} in it"),
        ({"chat": "yes"}, "^chat=yes: must be one of auto, always, never"),
        ({"batch": 0}, "^batch=0: must be >= 1"),
    ],
)
def test_impossible_settings_are_refused(own, settings, message):
    with pytest.raises(ValueError, match=message):
        text(own, **settings)


def test_scores_are_numbers_from_0_to_1(own):
    (own / "score.py").write_text(HOSTILE.replace("import os", "import numpy, fractions, os"))
    env = text(own)
    problem = env.problems("train")[0]
    grades = env.grade([problem] * len(SCORES), list(SCORES))
    assert [grade.score for grade in grades] == list(SCORES.values()) and {g.status for g in grades} == {"ok"}
    assert [grade.solved for grade in grades] == [score == 1 for score in SCORES.values()]
    grades = env.grade([problem] * len(NO_SCORES), NO_SCORES)
    assert {(grade.status, grade.score) for grade in grades} == {("invalid", 0)}
    assert grades[0].message == "score.py, line 5: score returned '0.5', not a number in [0, 1]"


@pytest.mark.parametrize("in_process", [False, True])
def test_what_a_function_changes_in_a_row_ends_with_the_call(own, in_process):
    body = "    return row.setdefault('first', completion) == completion"
    (own / "score.py").write_text(f"def score(completion, row):\n{body}\n")
    env = text(own, unsafe_in_process=in_process)
    problem = env.problems("train")[0]
    assert [grade.score for grade in env.grade([problem] * 3, ["a", "b", "c"])] == [1, 1, 1]
    assert "first" not in problem.facts


@pytest.mark.parametrize("in_process", [False, True])
def test_what_a_function_raises_is_told_with_file_and_line(own, in_process):
    (own / "score.py").write_text(HOSTILE)
    env = text(own, unsafe_in_process=in_process)
    problem = env.problems("train")[0]
    answers = ["1", "sys.exit(2)", "row['x']", "'\\x1b[2J'.x", "f(", "x" * 100_001]
    answers += [] if in_process else ["exit(3)"]
    grades = env.grade([problem] * len(answers), answers)
    assert [grade.status for grade in grades[:6]] == ["ok", "crash", "crash", "crash", "crash", "length"]
    assert [grade.message for grade in grades[1:3]] == [
        "score.py, line 6: SystemExit: 2",
        "score.py, line 6: KeyError: 'x'",
    ]
    assert all(grade.message == "score.py, line 6: SystemExit: 3" for grade in grades[6:])
    assert all(grade.message.isprintable() for grade in grades)
    assert env.verifier.record.first_failure == grades[1].message


def test_a_call_reaches_nothing_and_is_ended(own, tmp_path, monkeypatch):
    monkeypatch.setattr(child, "SECONDS", 2.0)
    (own / "score.py").write_text(HOSTILE)
    env, canary = text(own, "runs"), tmp_path / "canary"
    problem = env.problems("train")[0]
    kept = tmp_path / "kept"
    kept.write_text("")
    attacks = {
        f"open({str(canary)!r}, 'w')": ("crash", "PermissionError: open("),
        f"os.mkdir({str(canary)!r})": ("crash", "PermissionError: os.mkdir("),
        f"os.remove({str(kept)!r})": ("crash", "PermissionError: os.remove("),
        f"os.rename({str(kept)!r}, {str(canary)!r})": ("crash", "PermissionError: os.rename("),
        "os.kill(os.getppid(), 9)": ("crash", "PermissionError: os.kill("),
        "os.fork()": ("crash", "PermissionError: os.fork("),
        "assert os.system('true') == 0": ("crash", "PermissionError: os.system("),
        "_socket.socket()": ("crash", "PermissionError: socket."),
        "open('/etc/hostname')": ("crash", "Too many open files"),
        "'x' * 10**10": ("crash", "MemoryError"),
        "os._exit(0)": ("crash", "its process ended (exit code 0)"),
        "os.abort()": ("crash", "its process ended (SIGABRT)"),
        "import signal; signal.raise_signal(40)": ("crash", "its process ended (signal 40)"),
        "os.write(3, b'forged' * 99); os._exit(0)": ("crash", ""),
        "while True: pass": ("timeout", "score.py, line 11: more than 1 s of computing"),
        "time.sleep(60)": ("timeout", "score.py, line 11: more than 1 s of computing, or 2 s on the clock"),
        "9**9**9": ("timeout", "score.py, line 11: more than"),
    }
    answers = [answer for attack in attacks for answer in (problem.answer, attack)]
    grades = env.grade([problem] * len(answers), answers)
    assert [grade.score for grade in grades] == [1, 0] * len(attacks)
    for grade, (attack, (status, message)) in zip(grades[1::2], attacks.items(), strict=True):
        assert (grade.status, message in grade.message) == (status, True), (attack, grade)
    assert kept.exists() and not canary.exists()


def test_a_function_that_changes_while_it_grades_stops_the_run(own):
    env = text(own)
    problem = env.problems("train")[0]
    assert env.grade([problem], ["12"])[0].status == "ok"
    idle = [env.verifier.children.get() for _ in range(env.verifier.children.qsize())]
    for ours in idle:
        if ours:
            ours.close()
        env.verifier.children.put(ours)
    (own / "shares.py").write_text("def share(text, kind):\n    return 1\n")
    with pytest.raises(RuntimeError, match=r"the files of score\.py:score have changed; start again"):
        env.grade([problem], ["12"])
    assert text(own).grade([problem], ["!"])[0].solved


def test_in_this_process_a_function_may_do_all_and_sees_its_neighbours_as_they_are(own, tmp_path):
    (own / "score.py").write_text(CARELESS.format(str(tmp_path / "written")))
    env = text(own, unsafe_in_process=True)
    problem = next(p for p in env.problems("train") if p.facts["kind"] == "digits")
    assert [grade.score for grade in env.grade([problem] * 2, ["12", "1x"])] == [1, 0.5]
    assert (tmp_path / "written").read_text() == "xxx"  # one of them for the right answer of the first row
    (own / "shares.py").write_text("def share(text, kind):\n    return 0.125\n")
    assert text(own, unsafe_in_process=True).grade([problem], ["12"])[0].score == 0.125
    assert not (own / "__pycache__").exists()
    with pytest.raises(ValueError, match=r"reward=.*score\.py has no function absent"):
        text(own, "absent", unsafe_in_process=True)
