"""The suite from Python: the same training, store and errors as on the command line, and the notebook of docs/."""

import json

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

import suite
from algorithms import new
from store.runs import RunStore
from tests.helpers import ROOT

TINY = ("env=sparse_bandit", "env.arms=5", "seeds=2", "train.steps=4")
WRONG = {
    ("algo=tpoo",): "did you mean tpo?",
    ("algo.etta=3",): "did you mean eta?",
    ("algo.eta=0",): "algo.eta=0.0",
    ("seeds=0",): "seeds=0: must be",
    ("algo",): "has no value; must be algo=VALUE",
    ("algo=ce", "env=terminal_reversal"): "oracle",
    ("paper=fig99",): "paper=fig99: not found",
    ("algo=glob(x*)",): "no file has such a name",
    ("optim.lr=interval(0,1)",): "an interval is no list",
    ("optim.lr=${nothing}",): "optim.lr: Interpolation key 'nothing' not found",
    ("algo.label=$x",): "algo.label=$x: must be some text without $",
    ("suite=core", "algo=tpo"): "only the command line trains a plan or a suite: python run.py suite=core algo=tpo",
    ("plan=paper",): "python run.py plan=paper",
    ("paper=fig11",): "drawn from the runs of fig10",
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_grid_is_trained_once_and_says_nothing(capfd):
    frame = suite.train("algo=tpo,dg", *TINY)
    again = suite.train("-m", "algo=tpo,dg", *TINY)
    assert frame.equals(again) and capfd.readouterr().out == ""
    assert list(frame) == ["env", "algo", "label", "run", "seed", "step", "metric", "value"]
    assert set(frame.label) == {"TPO", "DG"} and set(frame.seed) == {0, 1} and set(frame.step) == {1, 2, 3, 4}
    runs = {run.path.name: run.frame() for run in RunStore(suite.Path("runs")).runs()}
    assert all(len(runs[name]) == len(part) for name, part in frame.groupby("run"))


def test_seeds_that_were_not_asked_for_are_left_out():
    suite.train("algo=tpo", *TINY)
    assert set(suite.train("algo=tpo", *TINY, "seeds=[1]").seed) == {1}


def test_labels_tell_settings_apart():
    frame = suite.train("algo=tpo", "algo.eta=1,2", *TINY)
    assert set(frame.label) == {"TPO", "TPO (eta=2)"}


@pytest.mark.parametrize("overrides", WRONG)
def test_mistakes_are_exceptions_before_any_work(overrides):
    with pytest.raises(suite.ConfigError) as caught:
        suite.train(*overrides)
    assert WRONG[overrides] in str(caught.value)
    assert not list(suite.Path().rglob("manifest.json"))


def test_a_run_that_fails_is_an_exception_that_names_its_traceback(monkeypatch):
    def fail(self, noise):
        raise RuntimeError("no more arms")

    monkeypatch.setattr("training.loop.Trainer.rollout", fail)
    with pytest.raises(suite.TrainingError, match="no more arms") as caught:
        suite.train("algo=tpo", *TINY)
    (file,) = suite.Path("runs").rglob("traceback.txt")
    assert str(file) in str(caught.value) and "in fail" in file.read_text()


def test_every_sweep_of_the_command_line_is_a_grid():
    frame = suite.train("algo=tpo", "algo.eta=range(1,3)", *TINY)
    assert frame.run.nunique() == 2


def test_a_warm_start_adds_no_rows():
    model = ("model.layers=1", "model.hidden=16", "model.mlp=16", "model.warm_steps=1", "model.warm_accuracy=null")
    frame = suite.train("algo=tpo", "env=arithmetic", "train.phase=sft", *model)
    assert frame.empty and not list(suite.Path("runs").rglob("metrics.parquet"))


def test_shipped_results_are_loaded_from_any_folder():
    frame = suite.load("contextual_bandit")
    assert {"TPO", "GRPO"} <= set(frame.label) and frame.seed.nunique() == 100
    with pytest.raises(suite.ConfigError, match=r"allowed: .*contextual_bandit"):
        suite.load("contextual")


def test_figures_come_back_and_unknown_ones_are_named():
    assert len(suite.figure("fig03").axes) == 2
    with pytest.raises(suite.ConfigError, match="did you mean fig09"):
        suite.figure("fig99")
    with pytest.raises(suite.ConfigError, match=r"python run\.py paper=fig03"):
        suite.figure("fig03", results=".")
    with pytest.raises(suite.ConfigError, match="runs_dir=typo: no such folder"):
        suite.figure("fig03", runs_dir="typo")
    with pytest.raises(suite.ConfigError, match="runs_dir=~nobody_here: no such folder"):
        suite.figure("fig03", runs_dir="~nobody_here")


def test_jobs_that_differ_in_their_seeds_are_one_run():
    frame = suite.train("algo=tpo", *TINY, "seeds=1,2")
    assert set(frame.seed) == {0, 1} and not frame.duplicated(["run", "seed", "step", "metric"]).any()
    assert frame.run.nunique() == 1


@pytest.mark.parametrize(
    ("module", "path"),
    [
        ("helper_of_mine", "helper_of_mine.py"),
        (".shared", "shared.py"),
        ("parts.helper_of_mine", "parts/helper_of_mine.py"),
    ],
)
def test_a_method_is_read_again_when_what_it_imports_changes(module, path):
    new.SCAFFOLD.create("mine", suite.Path("own"))
    file, helper = suite.Path("own/mine.py"), suite.Path("own", path)
    file.write_text(f"from {module} import SIGN\n" + file.read_text().replace("-advantage *", "SIGN * advantage *"))
    helper.parent.mkdir(exist_ok=True)
    asked = ("algo=mine", "algo_path=own", *TINY, "force=true")
    errors = []
    for sign in ("-1.0", "+1.0", "-1.0"):
        helper.write_text(f"SIGN = {sign}\n")
        errors.append(suite.train(*asked).query("metric == 'error'").value.iloc[-1])
        helper.write_text("SIGN =\n")
        with pytest.raises(suite.ConfigError, match=f"{file.name}, line 1: SyntaxError"):
            suite.train(*asked)
    assert errors[0] == errors[2] < errors[1]


def test_what_a_method_lacks_may_appear_in_a_subfolder():
    new.SCAFFOLD.create("mine", suite.Path("own"))
    file, asked = suite.Path("own/mine.py"), ("algo=mine", "algo_path=own", *TINY)
    file.write_text(f"from parts.scale import SCALE\n{file.read_text()}")
    for folder in ("own/parts", "own/parts/more"):  # the second one changes nothing
        with pytest.raises(suite.ConfigError, match=f"{file.name}, line 1: ModuleNotFoundError"):
            suite.train(*asked)
        suite.Path(folder).mkdir()
    suite.Path("own/parts/scale.py").write_text("SCALE = 1\n")
    assert len(suite.train(*asked))


@pytest.mark.parametrize("inside", [False, True], ids=["at the top", "while it trains"])
def test_each_folder_has_helpers_of_its_own(inside):
    errors = {}
    for folder, sign in {"a": "-1.0", "b": "1.0", "c": "-1.0"}.items():
        new.SCAFFOLD.create("mine", suite.Path(folder))
        file = suite.Path(folder, "mine.py")
        text = file.read_text().replace("-advantage *", "SIGN * advantage *")
        if inside:
            text = text.replace("        u = ", "        from helper_of_mine import SIGN\n\n        u = ")
        file.write_text(text if inside else f"from helper_of_mine import SIGN\n{text}")
        suite.Path(folder, "helper_of_mine.py").write_text(f"SIGN = {sign}\n")
        frame = suite.train("algo=mine", f"algo_path={folder}", *TINY, "force=true")
        errors[folder] = frame.query("metric == 'error'").value.iloc[-1]
    assert errors["a"] == errors["c"] < errors["b"]


def test_figures_leave_the_users_own_style_alone():
    before = dict(matplotlib.rcParams)
    suite.figure("fig02")
    assert dict(matplotlib.rcParams) == before and not plt.get_fignums()


def test_padding_may_have_any_log_prob():
    logp, score = torch.zeros(1, 2, 3), torch.tensor([[1.0, 0.0]])
    mask = torch.tensor([1.0, 1.0, 0.0]).expand(1, 2, 3)
    padded = logp.masked_fill(mask == 0, -torch.inf)
    clean, odd = suite.batch(logp, score, mask), suite.batch(padded, score, mask)
    objective = suite.objective("tpo")
    assert objective.loss(logp, clean)[0] == objective.loss(logp, odd)[0]
    referred = suite.batch(logp, score, mask, logp_ref=padded.nan_to_num(neginf=torch.nan))
    assert suite.objective("grpo_published").loss(logp, referred)[0].isfinite()
    with pytest.raises(ValueError, match="score is list: must be a tensor"):
        suite.batch(logp, [1.0])
    with pytest.raises(ValueError, match=r"needs \(\*L,B,K,T\)"):
        suite.batch(torch.zeros(2, 3), torch.zeros(2))


def test_a_choice_and_an_optional_number_are_settings_of_a_method():
    new.SCAFFOLD.create("mine", suite.Path("own"))
    file = suite.Path("own/mine.py")
    fields = '    power: float = 1.0\n    kind: Literal["a", "b"] = "a"\n    top: Optional[int] = None\n'
    text = file.read_text().replace("    power: float = 1.0\n", fields)
    file.write_text("from typing import Literal, Optional\n" + text)
    with suite.Path("own/mine.yaml").open("a") as yaml:
        yaml.write("kind: a\ntop: null\n")
    found = suite.objective("mine", algo_path="own", kind="b", top=10.0)
    assert (found.kind, found.top) == ("b", 10)
    suite.Path("own").rename("a, b (c)")
    assert suite.objective("mine", algo_path="a, b (c)").top is None
    suite.Path("a, b (c)").rename("own")
    with pytest.raises(suite.ConfigError, match=r"algo\.kind=c: unknown choice; allowed: a, b"):
        suite.objective("mine", algo_path="own", kind="c")
    with pytest.raises(suite.ConfigError, match=r"algo\.top=x: must be a whole number or null"):
        suite.objective("mine", algo_path="own", top="x")


def test_only_text_and_one_algorithm_are_taken():
    with pytest.raises(suite.ConfigError, match="must be text"):
        suite.train(["algo=tpo"])
    with pytest.raises(suite.ConfigError, match="must be one algorithm"):
        suite.objective("tpo,dg")


def test_an_objective_takes_tensors_of_ones_own():
    logp = torch.full((1, 2, 3), -1.0, requires_grad=True)
    mask = torch.tensor([[[1.0, 1, 1], [1, 0, 0]]])
    loss, _ = suite.objective("group_pg").loss(logp, suite.batch(logp, torch.tensor([[1.0, 0.0]]), mask))
    loss.backward()
    assert logp.grad[0].tolist() == [[-1.0] * 3, [1.0, 0.0, 0.0]]  # u = 1 and -1, where the mask counts
    with pytest.raises(suite.ConfigError, match="did you mean eta"):
        suite.objective("tpo", etta=1)
    with pytest.raises(ValueError, match="score has shape"):
        suite.batch(logp, torch.zeros(2))
    with pytest.raises(ValueError, match="logp_ref has shape"):
        suite.batch(logp, torch.zeros(1, 2), logp_ref=torch.zeros(2))


def test_a_batch_of_ones_own_has_the_mean_score_as_baseline():
    logp, score = torch.zeros(2, 2, 3), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match=r"baseline has shape \(3,\): must be a number or fit"):
        suite.batch(logp, score, baseline=torch.zeros(3))
    with pytest.raises(ValueError, match="score=nan: must be finite; 2 of 4 are not"):
        suite.batch(logp, score.clone().index_fill(-1, torch.tensor([0]), torch.nan))
    assert (suite.batch(logp, score).baseline == 0.25).all() and suite.batch(logp, score, baseline=0.5).baseline == 0.5


def test_the_notebook_runs(capsys):
    matplotlib.use("Agg")
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    plt.close("all")
    assert "did you mean tpo?" in capsys.readouterr().out
    assert names["loss"].isfinite() and set(names["curves"]) == {"TPO", "GRPO", "DG", "PG"}
