"""Algorithms of the user's own: from the template, from a folder elsewhere, and files that do not work."""

import dataclasses
import inspect
import re

import pytest
from omegaconf import OmegaConf

from algorithms import new
from analysis.__main__ import main as analysis
from conf import discover
from store.runs import RunStore
from tests import test_contract
from tests.helpers import ROOT, command, names


@pytest.fixture
def own(tmp_path):
    """A folder with an algorithm from the template."""
    folder = tmp_path / "own"
    folder.mkdir()
    new.create("mine", folder)
    return folder


def test_the_template_is_in_style_and_has_a_look_of_its_own(own):
    code = (own / "mine.py").read_text()
    assert len(code.splitlines()) <= 45 and max(map(len, code.splitlines())) <= 120
    look = OmegaConf.load(own / "mine.yaml")
    others = [OmegaConf.load(ROOT / "conf" / "algo" / f"{name}.yaml") for name in names("algo")]
    assert (look.color, look.linestyle) not in {(other.color, other.linestyle) for other in others}
    (cls,) = discover.outside(str(own)).values()
    assert set(look) - {"name", "objective", "label", "color", "linestyle"} == {f.name for f in dataclasses.fields(cls)}
    new.create("other_one", own)
    assert OmegaConf.load(own / "other_one.yaml").color != look.color


def test_the_template_keeps_the_contract(own):
    objective = discover.outside(str(own))["mine"]()
    tests = [test for name, test in vars(test_contract).items() if name.startswith("test_")]
    kept = [test(objective) for test in tests if list(inspect.signature(test).parameters) == ["objective"]]
    assert len(kept) >= 10


def test_the_template_goes_where_the_suite_looks(tmp_path, monkeypatch, capsys):
    for folder in ("algorithms", "conf/algo"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(new, "ROOT", tmp_path)
    assert new.main(["mine"]) == 0 and "python run.py algo=mine" in capsys.readouterr().out
    assert (tmp_path / "algorithms" / "mine.py").exists() and (tmp_path / "conf" / "algo" / "mine.yaml").exists()
    assert new.main(["mine"]) == 2


@pytest.mark.parametrize("name", ["tpo", "base", "new", "9lives", "my-algo", "class", "", "../up"])
def test_a_name_that_is_taken_or_none_is_refused(own, capsys, name):
    before = sorted(own.iterdir())
    assert new.main([name, "--dir", str(own)]) == 2
    assert f"name={name}: " in capsys.readouterr().err
    assert sorted(own.iterdir()) == before


def test_the_template_refuses_to_overwrite_and_makes_its_folder(own, capsys):
    assert new.main(["mine", "--dir", str(own)]) == 2
    assert "mine.py is there already" in capsys.readouterr().err
    assert new.main(["mine", "--dir", str(own / "new")]) == 0 and (own / "new" / "mine.yaml").exists()


def test_a_folder_elsewhere_trains_and_is_drawn_and_ranked_without_it(cli, own, tmp_path, capsys):
    code, out = cli("-m", "algo=mine,tpo", f"algo_path={own}", "env.arms=5", "seeds=2", "train.steps=20")
    assert code == 0 and "Mine" in out and "TPO" in out
    assert [run.config()["algo"]["name"] for run in RunStore(tmp_path / "runs").runs()] == ["mine", "tpo"]
    for path in own.iterdir():
        if path.is_file():
            path.unlink()
    assert analysis(["leaderboard", "--of", "runs"]) == 0 and analysis(["table", "sparse_bandit"]) == 0
    assert "Mine" in capsys.readouterr().out
    code, out = cli("algo=mine")
    assert code == 2 and "algo=mine: not found" in out


def test_a_broken_file_is_named_with_its_line_and_stops_no_other(cli, own, caplog):
    (own / "broken.py").write_text("import math\n\nmath.nonsense\n")
    (own / "broken.yaml").write_text((own / "mine.yaml").read_text().replace("mine", "broken"))
    (own / "unreadable.py").write_text("x = 1\ndef f(:\n")
    code, _ = cli("algo=mine", f"algo_path={own}", "env.arms=5", "seeds=1", "train.steps=2")
    assert code == 0
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == 2 and all("\n" not in text for text in warned)
    assert "broken.py, line 3: AttributeError: module 'math' has no attribute 'nonsense'" in warned[0]
    assert re.search(r"unreadable.py, line 2: SyntaxError", warned[1])
    code, out = cli("algo=broken", f"algo_path={own}")
    assert code == 2 and "Traceback" not in out
    assert "algo.objective=broken: not found, left out:" in out and "broken.py, line 3" in out


def test_two_classes_of_one_name_are_refused(cli, own):
    (own / "again.py").write_text((own / "mine.py").read_text())
    code, out = cli("algo=mine", f"algo_path={own}")
    assert code == 2 and "two classes are called mine, in again.py and mine.py" in out


def test_a_name_of_the_suite_is_refused(cli, own):
    (own / "mine.py").write_text((own / "mine.py").read_text().replace('name = "mine"', 'name = "tpo"'))
    code, out = cli("algo=mine", f"algo_path={own}")
    assert code == 2 and "mine.py calls a class tpo, as the suite does" in out
    (own / "tpo.yaml").write_text("name: tpo\n")
    code, out = cli("algo=tpo", f"algo_path={own}")
    assert code == 2 and "the suite has a tpo.yaml of its own" in out


def test_a_folder_that_is_none_is_refused(monkeypatch, capsys, tmp_path):
    code, out = command(monkeypatch, capsys, f"algo_path={tmp_path / 'none'}")
    assert code == 2 and "algo_path=" in out and "no such folder" in out
