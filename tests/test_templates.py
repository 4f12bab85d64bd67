"""The templates of new methods, tasks and models: short, in style, true to their contracts, and they learn."""

import dataclasses
import inspect
import shutil

import pytest
from omegaconf import OmegaConf

import algorithms.new
import envs.new
import models.new
from conf import scaffold
from store.failure import ContractError
from tests import helpers, test_contract, test_env_contract, test_model_contract
from tests.helpers import ROOT, class_of, experiment, names
from training.experiment import build

METHOD, TASK, MODEL = algorithms.new.SCAFFOLD, envs.new.SCAFFOLD, models.new.SCAFFOLD
TEMPLATES = [(new, kind) for new in (METHOD, TASK, MODEL) for kind in new.kinds]
IDS = [f"{new.group}_{kind}" for new, kind in TEMPLATES]
LONGEST = 62  # lines
LOOK = {"name", "objective", "task", "label", "color", "linestyle"}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder that the tests know as that of pytest --own."""
    (tmp_path / "own").mkdir()
    monkeypatch.setattr(helpers, "own", tmp_path / "own")
    return tmp_path / "own"


@pytest.mark.parametrize(("new", "kind"), TEMPLATES, ids=IDS)
def test_it_is_short_and_in_style_and_its_yaml_lists_every_setting(own, new, kind):
    code, settings = new.create("my_first", own, kind)
    lines = code.read_text().splitlines()
    assert len(lines) <= LONGEST and max(map(len, lines)) <= 120
    assert "emplate" not in code.read_text() + settings.read_text()
    node = OmegaConf.load(settings)
    node = node.env if new.group == "env" else node
    assert set(node) - LOOK == {field.name for field in dataclasses.fields(class_of(new.group, "my_first"))}


def contract_of(group, name, folder):
    """The tests that a file of a group has to pass, and what they take."""
    if group == "algo":
        return test_contract, "objective", class_of("algo", name)()
    if group == "env":
        return test_env_contract, "task", test_env_contract.small_task(name, folder)
    return test_model_contract, "model", test_model_contract.model_experiment(name, folder)


@pytest.mark.parametrize(("new", "kind"), TEMPLATES, ids=IDS)
def test_it_keeps_its_contract(own, tmp_path, new, kind):
    new.create("my_first", own, kind)
    module, takes, _ = contract_of(new.group, "my_first", tmp_path)
    tests = [test for name, test in vars(module).items() if name.startswith("test_")]
    tests = [test for test in tests if list(inspect.signature(test).parameters) == [takes]]
    tests = [test for test in tests if "gpu" not in {mark.name for mark in getattr(test, "pytestmark", ())}]
    for test in tests:
        test(contract_of(new.group, "my_first", tmp_path / test.__name__)[-1])
    assert len(tests) >= 6


ANY_BUT_THE_PROMPT = """

    def correct(self, prompts, answers):
        return (answers != prompts.unsqueeze(2)).float()
"""
FAULTS = [  # a template, what it says, what it says instead, and the test that finds it
    ("bandit", "chance_error=1 - 1 / self.arms", "chance_error=0.5", "random_answers_have_the_declared_chance_error"),
    ("bandit", 'noise.uniform("context", self.batch)', "torch.rand(len(noise.seeds), self.batch)", "a_seed_meets"),
    ("bandit", "(2, candidates)", "(2, candidates).log()", "rollouts_have_the_shapes_of_the_axes_and_finite_rewards"),
    ("bandit", "(2, candidates)", "(2, candidates)[:1]", "rollouts_have_the_shapes_of_the_axes_and_finite_rewards"),
    ("bandit", "self.arms).float()\n", "self.arms).float() / 2\n", "a_right_answer_has_the_highest_reward_and_error_0"),
    ("bandit", "one_hot(contexts %", "one_hot(contexts.cpu() %", "tensors_are_on_the_device_of_the_noise"),
    (
        "bandit",
        "samplers=ACTION_SAMPLERS",
        'samplers=ACTION_SAMPLERS | {"group": "none"}',
        "what_does_not_fit_is_refused_before_any_work",
    ),
    ("tokens", "self.shift)", "prompts.clone().random_(2))", "a_run_goes_on_from_its_checkpoint"),
    ("tokens", "% self.vocab\n", "% self.vocab" + ANY_BUT_THE_PROMPT, "next_tokens_are_scored_as_the_answers"),
]


@pytest.mark.parametrize(("kind", "right", "wrong", "test"), FAULTS)
def test_the_contract_finds_a_fault(own, tmp_path, kind, right, wrong, test):
    code, _ = TASK.create("my_first", own, kind)
    assert code.read_text().count(right) == 1
    code.write_text(code.read_text().replace(right, wrong))
    (name,) = (name for name in vars(test_env_contract) if name.startswith(f"test_{test}"))
    with pytest.raises((AssertionError, RuntimeError, ContractError)):
        getattr(test_env_contract, name)(test_env_contract.small_task("my_first", tmp_path))


FAST = {  # settings in which a template shows in a second or two that it learns
    "objective": ("algo=my_first", "env.arms=10"),
    "bandit": ("env=my_first",),
    "tokens": ("env=my_first", "train.steps=30", "model.d_model=32", "model.layers=1"),
    "text": ("env=my_first", "train.steps=20", "train.eval_problems=1"),
}


@pytest.mark.parametrize("kind", FAST)
def test_it_learns(own, tmp_path, kind):
    (METHOD if kind == "objective" else TASK).create("my_first", own, kind)
    exp = experiment(tmp_path, *FAST[kind], "device=cpu", "train.log_every=1")
    errors = build(exp, (0, 1) if exp.model.stacked else (0,)).run().arrays()["error"]
    assert (errors[-1] < errors[0] - 0.15).all()


@pytest.mark.parametrize("new", (METHOD, TASK, MODEL), ids=lambda new: new.group)
def test_it_goes_where_the_suite_looks(tmp_path, monkeypatch, capsys, new):
    shutil.copytree(ROOT / new.package / "templates", tmp_path / new.package / "templates")
    monkeypatch.setattr(scaffold, "ROOT", tmp_path)
    assert new.main(["my_first"]) == 0
    said = capsys.readouterr().out
    assert f"python run.py {new.group}=my_first" in said and "python -m pytest -k my_first\n" in said
    assert (tmp_path / new.package / "my_first.py").exists()
    assert (tmp_path / "conf" / new.group / "my_first.yaml").exists()
    assert new.main(["my_first"]) == 2


NONE = ["base", "new", "9lives", "my-own", "class", "none", "null", "", "../up", "my_first"]
TAKEN = [(METHOD, "tpo"), (TASK, "gsm8k"), (TASK, "image_bandit"), (MODEL, "mlp")]


def test_a_folder_that_cannot_be_written_is_one_line(own, capsys):
    own.mkdir(exist_ok=True)
    (own / "file").touch()
    assert METHOD.main(["mine", "--dir", str(own / "file")]) == 2
    assert capsys.readouterr().err == f"{own / 'file'}: cannot write there (File exists); name a writable folder\n"


@pytest.mark.parametrize(("new", "name"), [*((new, name) for new in (METHOD, TASK, MODEL) for name in NONE), *TAKEN])
def test_a_name_that_is_taken_or_none_is_refused(own, capsys, new, name):
    new.create("my_first", own)
    before = sorted(own.iterdir())
    assert new.main([name, "--dir", str(own)]) == 2
    assert f"name={name}: " in capsys.readouterr().err
    assert sorted(own.iterdir()) == before


def test_it_makes_its_folder_and_says_what_to_do_with_it(own, capsys):
    folder = own / "new"
    assert TASK.main(["my_first", "--kind", "tokens", "--dir", str(folder)]) == 0
    said = capsys.readouterr().out
    assert f"python run.py env=my_first env_path={folder}\n" in said
    assert f"python -m pytest -k my_first --own={folder}\n" in said
    assert "SequenceEnv" in (folder / "my_first.py").read_text() and (folder / "my_first.yaml").exists()


def test_methods_have_a_look_of_their_own(own):
    others = [OmegaConf.load(ROOT / "conf" / "algo" / f"{name}.yaml") for name in names("algo")]
    looks = {(other.color, other.linestyle) for other in others}
    for name in ("my_first", "my_second"):
        node = OmegaConf.load(METHOD.create(name, own)[1])
        assert (node.color, node.linestyle) not in looks
        looks.add((node.color, node.linestyle))
