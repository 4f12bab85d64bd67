"""Methods, tasks and models of the user's own: from a folder elsewhere, and files that do not work."""

import re
import subprocess
import sys

import pytest

import algorithms.new
import envs.new
import models.new
from analysis import suites
from store.runs import RunStore
from tests.helpers import ROOT, command

NEW = {"algo": algorithms.new.SCAFFOLD, "env": envs.new.SCAFFOLD, "model": models.new.SCAFFOLD}
HERE = {  # by the group of what is one's own, a run that uses it
    "algo": ("algo=mine", "env.arms=5", "seeds=1", "train.steps=2"),
    "env": ("env=mine", "seeds=1", "train.steps=2"),
    "model": ("model=mine", "env.arms=5", "seeds=1", "train.steps=2"),
}
CLASS = {"algo": "objective", "env": "task", "model": "name"}  # the key that names the class


@pytest.fixture(params=NEW)
def group(request):
    return request.param


@pytest.fixture
def own(tmp_path, group):
    """A folder with a method, a task or a model from the template."""
    NEW[group].create("mine", tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def run(cli, own, group):
    """`python run.py` with what is one's own, and more: (exit code, output)."""
    return lambda *args: cli(*HERE[group], f"{group}_path={own}", *args)


def test_a_folder_elsewhere_trains_and_one_without_it_is_told_how(run, cli, group, tmp_path):
    code, out = run()
    assert code == 0 and "data runs" in out
    (stored,) = RunStore(tmp_path / "runs").runs()
    assert stored.config()[group]["name"] == "mine"
    code, out = cli(f"{group}=mine")
    assert code == 2 and f"{group}=mine: not found" in out
    assert f"{group}_path=FOLDER with a mine.yaml of your own" in out


@pytest.mark.filterwarnings("error::UserWarning")
def test_one_folder_holds_files_of_all_groups_and_each_group_lists_its_own(cli, tmp_path):
    for new in NEW.values():
        new.create(f"my_{new.group}", tmp_path / "own")
    paths = [f"{group}_path={tmp_path / 'own'}" for group in NEW]
    _, out = cli("--help", *paths)
    for group in NEW:
        (line,) = re.findall(rf"^{group}: (.*(?:\n .*)*)", out, re.MULTILINE)
        assert [name for name in re.findall(r"my_\w+", line)] == [f"my_{group}"]
    code, out = cli("-m", "algo=glob(my_*)", "env=my_env", "model=my_model,tabular", *paths, "debug=smoke")
    assert code == 0 and out.startswith("2 jobs")
    assert "My algo (model=my_model): data" in out and "My algo (model=tabular): data" in out


def test_a_suite_ranks_the_methods_of_a_folder_and_nothing_else_of_it(tmp_path):
    for new in NEW.values():
        new.create(f"my_{new.group}", tmp_path / "own")
    suite = suites.Suite("any", suites.Protocol(), leave_out={}, tasks=())
    assert suites.methods(suite, "glob(my_*)", str(tmp_path / "own")) == ["my_algo"]


def test_a_model_of_ones_own_is_no_folder_of_weights(cli, tmp_path):
    models.new.SCAFFOLD.create("mine", tmp_path / "own")
    (tmp_path / "mine").mkdir()  # where the command runs
    code, _ = cli(*HERE["model"], f"model_path={tmp_path / 'own'}")
    assert code == 0


def test_a_broken_file_is_named_with_its_line_and_stops_no_other(cli, run, own, group, caplog):
    (own / "broken.py").write_text("import math\n\nmath.nonsense\n")
    (own / "broken.yaml").write_text((own / "mine.yaml").read_text().replace("mine", "broken"))
    (own / "unreadable.py").write_text("x = 1\ndef f(:\n")
    code, _ = run()
    assert code == 0
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == 2 and all("\n" not in text for text in warned)
    assert "broken.py, line 3: AttributeError: module 'math' has no attribute 'nonsense'" in warned[0]
    assert re.search(r"unreadable.py, line 2: SyntaxError", warned[1])
    code, out = cli(f"{group}=broken", f"{group}_path={own}")
    assert code == 2 and "Traceback" not in out
    assert (
        f"{group}.{CLASS[group]}=broken: no class of the suite or in {own} has this name, left out:" in out
        and "broken.py, line 3" in out
    )


@pytest.mark.parametrize("group", ["algo", "env"])
def test_a_yaml_file_is_called_as_its_name(run, own, group):
    text = (own / "mine.yaml").read_text()
    (own / "other.yaml").write_text(text)
    code, out = run()
    assert code == 2 and "other.yaml: " in out and "name=mine: must be other, as the file is called" in out


@pytest.mark.parametrize("instead", ["@dataclass\n", ""])
def test_a_class_that_is_no_frozen_dataclass_is_named(run, own, instead):
    (own / "mine.py").write_text((own / "mine.py").read_text().replace("@dataclass(frozen=True)\n", instead, 1))
    code, out = run()
    assert code == 2 and re.search(r"mine.py: class Mine\w* must have @dataclass\(frozen=True\) above it", out)


MISTAKES = {  # {text of a template: what stands there instead}
    "from dataclasses": ("import sys\n\nsys.exit(3)\nfrom dataclasses", "SystemExit: 3"),
    "def __post_init__(self):": ("def __post_init__(self):\n        raise TypeError('no')", "TypeError: no"),
    '    name = "mine"': ("    other: 'Nothing' = None\n    name = 'mine'", "NameError: name 'Nothing' is not defined"),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_a_file_of_ones_own_is_no_traceback(run, own, text):
    mistake, said = MISTAKES[text]
    (own / "mine.py").write_text((own / "mine.py").read_text().replace(text, mistake))
    code, out = run()
    assert code == 2 and said in out and "Traceback" not in out


@pytest.mark.parametrize("group", ["env"])
def test_a_task_whose_facts_cannot_be_read_is_refused(run, own):
    (own / "mine.py").write_text((own / "mine.py").read_text().replace("actions=self.arms", "action=self.arms"))
    code, out = run()
    assert code == 2 and "TypeError: Spec.__init__() got an unexpected keyword argument 'action'" in out
    assert re.search(r"mine.py, line \d+\)", out)


def test_two_classes_of_one_name_are_refused(run, own, group):
    (own / "again.py").write_text((own / "mine.py").read_text())
    code, out = run()
    assert code == 2 and f"{group}_path={own}: two classes have name 'mine', in again.py and mine.py" in out


@pytest.mark.parametrize("group", ["algo"])
def test_files_of_two_groups_may_have_classes_of_one_name(run, own):
    code = (own / "mine.py").read_text()
    envs.new.SCAFFOLD.create("another", own)
    (own / "another.py").write_text((own / "another.py").read_text().replace('name = "another"', 'name = "mine"'))
    assert 'name = "mine"' in code and run()[0] == 0


def test_a_name_of_the_suite_is_refused(run, cli, own, group):
    taken = {"algo": "tpo", "env": "sparse_bandit", "model": "tabular"}[group]
    (own / "mine.py").write_text((own / "mine.py").read_text().replace('name = "mine"', f'name = "{taken}"'))
    code, out = run()
    assert code == 2 and f"mine.py has a class with name {taken!r}, as the suite does; rename yours" in out
    (own / f"{taken}.yaml").write_text((own / "mine.yaml").read_text())
    code, out = cli(f"{group}_path={own}")
    assert code == 2 and f"the suite has a {taken}.yaml of its own" in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "cannot be read as yaml: line 1"),
        ("- a\n", "must hold settings"),
        ("", "must hold settings"),
        ("env: [1]\n", "must hold settings"),
    ],
)
def test_yaml_that_says_nothing_is_named_and_hides_no_other_file(cli, run, own, group, caplog, text, said):
    (own / "other.yaml").write_text(text)
    code, _ = run()
    assert code == 0
    (warned,) = (record.getMessage() for record in caplog.records)
    assert f"{own / 'other.yaml'}: {said}" in warned
    code, out = cli(f"{group}=other", f"{group}_path={own}")
    assert code == 2 and f"{group}=other: {own / 'other.yaml'}: {said}" in out and "Traceback" not in out


def test_a_section_of_a_task_must_hold_settings(cli, tmp_path):
    NEW["env"].create("mine", tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(re.sub(r"(?m)^train:.*\n(?: .*\n)*", "", path.read_text()) + "train: 3\n")
    code, out = cli("env=mine", f"env_path={tmp_path}")
    assert code == 2 and "train=3: must be settings, one `key: value` a line" in out


def test_a_folder_that_is_none_is_refused(monkeypatch, capsys, tmp_path, group):
    code, out = command(monkeypatch, capsys, f"{group}_path={tmp_path / 'none'}")
    assert code == 2 and f"{group}_path=" in out and "no such folder" in out


def test_pytest_holds_a_folder_to_the_contracts(tmp_path):
    envs.new.SCAFFOLD.create("my_bandit", tmp_path / "own")
    asked = [f"--own={tmp_path / 'own'}", "-k", "my_bandit and (contexts or yaml)"]
    files = ["tests/test_env_contract.py", "tests/test_configs.py"]
    done = subprocess.run([sys.executable, "-m", "pytest", *asked, *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and re.search(r"^\.\. +\[100%\]", done.stdout, re.MULTILINE), done.stdout
    none = [sys.executable, "-m", "pytest", f"--own={tmp_path / 'none'}"]
    done = subprocess.run(none, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 4 and "no such folder" in done.stderr
