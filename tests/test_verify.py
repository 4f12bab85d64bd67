"""Verifiers under attack: the limits of their processes, and thousands of hostile answers to every rule."""

import random
import time

import pytest

from envs.rlvr import child
from envs.rlvr.arithmetic import Arithmetic
from envs.rlvr.child import Child
from envs.rlvr.graders import GRADERS
from envs.rlvr.grades import CHARACTERS, Case
from envs.rlvr.gsm8k import GSM8K
from envs.rlvr.gym import ReasoningGym
from envs.rlvr.rules import CHECKED
from envs.rlvr.verify import Pool
from tests.test_rlvr_tasks import write_gsm8k

FACTS = {"answer": "7"}


def cases(*completions: str) -> list[Case]:
    return [Case(FACTS, "7", completion) for completion in completions]


@pytest.fixture
def pool():
    pool = Pool("tests.obedient:rule", 2)
    yield pool
    pool.close()


def test_code_that_runs_reaches_nothing(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(child, "SECONDS", 1.0)
    canary = tmp_path / "canary"
    attacks = {
        f"open({str(canary)!r}, 'w')": "crash",
        "open('/etc/hostname')": "crash",
        f"import os; assert os.system('touch {canary}') == 0": "crash",
        f"import subprocess; subprocess.run(['touch', {str(canary)!r}])": "crash",
        "import socket; socket.socket()": "crash",
        "import os; assert set(os.environ) <= {'LC_CTYPE'}": "ok",
        "print('x' * 100_000); raise SystemExit": "crash",
        "'x' * 10**10": "crash",
        "import os; os._exit(0)": "crash",
        "import os; os.kill(os.getpid(), 11)": "crash",
        "def f(): f()\nf()": "crash",
        "import time; time.sleep(60)": "timeout",
        "while True: pass": "timeout",
    }
    answers = [text for attack in attacks for text in ("7", attack)]
    grades = pool.submit(cases(*answers, "7")).result()
    assert [grade.solved for grade in grades] == [*[True, False] * len(attacks), True]
    assert [grade.status for grade in grades[1::2]] == list(attacks.values())
    assert not canary.exists()


def test_the_kernel_ends_what_python_can_not(pool):
    start = time.monotonic()
    grades = pool.submit(cases("9**9**9", "7")).result()
    assert [grade.status for grade in grades] == ["timeout", "ok"] and grades[1].solved
    assert time.monotonic() - start < child.SECONDS + 5  # and not the hours of that power


def test_batches_are_graded_while_the_caller_goes_on(pool):
    pool.submit(cases("7")).result()
    start = time.monotonic()
    pending = [pool.submit(cases("import time; time.sleep(0.3)", "7")) for _ in range(2)]
    assert time.monotonic() - start < 0.2
    assert [grade.solved for part in pending for grade in part.result()] == [False, True] * 2


def test_a_killed_process_is_replaced(pool):
    (killed,) = [Child("tests.obedient:rule", *cases("7"))]
    killed.process.kill()
    assert [grade.status for grade in killed.grade(cases("7", "7"))] == ["crash"]
    assert not killed.alive
    pool.children.put(killed)
    for _ in range(3):
        assert all(grade.solved for grade in pool.submit(cases("7")).result())


@pytest.mark.parametrize(
    ("rule", "text"),
    [("tests.obedient:refuses", "a right answer scores 0.5"), ("tests.absent:rule", "No module named")],
)
def test_a_verifier_that_does_not_work_is_no_score_of_zero(rule, text):
    pool = Pool(rule, 1)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=text):
            pool.submit(cases("7")).result()
    pool.close()


def test_what_is_too_long_is_not_parsed():
    env = Arithmetic()
    problem = env.problems("test")[0]
    grades = env.grade([problem] * 3, ["9" * 5_000_000, problem.answer, "9" * CHARACTERS])
    assert [grade.status for grade in grades] == ["length", "ok", "ok"]
    assert [grade.score for grade in grades] == [0, 1, 0]


def hostile(canary: str, words: list[str], count: int) -> list[str]:
    """Completions by an adversary, without a right answer in them; `words` are those of the question."""
    run = f"__import__('os').mkdir({canary!r})"
    rng = random.Random(0)
    pieces = [
        *(
            run,
            f"eval({run!r})",
            f"{{'a': {run}}}",
            f"[{run} for _ in (1,)]",
            f"lambda: {run}",
            f"${{{run}}}",
            f"{{{run}}}",
        ),
        *(f"cos\nmkdir\n(S'{canary}'\ntR.", f"!!python/object/apply:os.mkdir ['{canary}']", f"$(mkdir {canary})"),
        *(
            "9**9**9",
            "factorial(factorial(99999))",
            "1e999999999",
            "-1E+99999",
            "0x" + "f" * 99,
            "1_0",
            "NaN",
            "Infinity",
        ),
        *(
            "####",
            "#### ",
            "\n#### 1 #### 2",
            "####-",
            "\\boxed{",
            "</think>",
            "<eos>",
            "<|im_end|>",
            "Answer:",
            "=",
            "+",
        ),
        *('{"', '":', "[" * 99, "{" * 99, '{"a":' * 99, "]" * 99, "}", "null", "true", '"' * 9, "\\u0000", "\\ud800"),
        *("\0", "\x1b[2J", "\r", "\u202e", "\u2028", "\ud800", "\udfff", "\U0010ffff", "\ufeff", "٣", "１", "½", "−"),
        *("$", ",", ".", "-", "--", "'", "and", "is a knight", "is a knave", "or", " ", "\t", "\n", *words),
    ]
    long = [piece * (CHARACTERS // len(piece)) for piece in ("[", '{"a":', "9", "-", "#### ", ",", "\0", "é", "1,")]
    mixed = ["".join(rng.choices(pieces, k=rng.randint(1, 30))) for _ in range(count - len(long) - 1)]
    return [*long, "x" * 5_000_000, *mixed]


# options whose answers nobody finds by chance
HARD = {"graph_color": {"edge_probability": 0.4}, "chain_sum": {"min_digits": 4}, "products": {"min_digits": 4}}
CALENDAR = ("weekday_offset", "weekday_of_date", "weekday_of_date_from_first_date", "recurring_event_day")
CALENDAR += ("count_days", "count_business_days", "is_leap_year")


@pytest.mark.parametrize("task", CALENDAR)
def test_hostile_dates_earn_nothing(task, tmp_path):
    env = ReasoningGym(task_name="calendar_arithmetic", options={"tasks": [task]})
    problem, canary = env.problems("train")[0], tmp_path / "canary"
    answers = [a for a in hostile(str(canary), [], 500) if not is_spelling(a, problem.answer)]
    grades = env.grade([problem] * len(answers), answers)
    assert len(answers) > 480 and {grade.status for grade in grades} == {"ok", "length"}
    assert not any(grade.solved for grade in grades) and not canary.exists()


def is_spelling(text: str, answer: str) -> bool:
    """Whether a text is the right number in other digits."""
    try:
        return int(text) == int(answer)
    except ValueError:
        return False


@pytest.mark.parametrize("task", ["arithmetic", "working", *GRADERS, *CHECKED])
def test_hostile_answers_earn_nothing_and_harm_nothing(task, tmp_path):
    if task == "arithmetic":
        env = Arithmetic(digits=20, max_new_tokens=30)
    elif task == "working":
        env = Arithmetic(digits=20, terms=3, working=True, max_new_tokens=60)
    elif task in GRADERS:
        env = GSM8K(data_dir=str(write_gsm8k(tmp_path)), grader=task)
    else:
        env = ReasoningGym(task_name=task, options=HARD.get(task, {}))
    problem, canary = env.problems("train")[0], tmp_path / "canary"
    words = [word for word in problem.prompt.split() if word not in problem.answer.split()]
    answers = hostile(str(canary), words, 2100)
    grades = env.grade([problem] * len(answers), answers)
    assert {grade.status for grade in grades} == {"ok", "length"}
    assert not any(grade.solved or grade.score >= 1 for grade in grades)
    assert not canary.exists()
    assert env.grade([problem], [problem.answer])[0].solved
