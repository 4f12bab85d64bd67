"""docs/extend.md in a folder outside the repository: trained, swept, killed, resumed, drawn and ranked as it says."""

import re
import shlex
import subprocess
import sys

import pytest
import torch

from analysis.command import main as analysis
from store.runs import RunStore
from tests.helpers import ROOT, command
from tests.own_text import TINY
from tests.processes import start, wait_for_checkpoint
from tests.test_own import NEW

PAGE = (ROOT / "docs" / "extend.md").read_text()
CLASSES, TEXT, COMMANDS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[:3]
RUNS = [line.split()[2:] for line in COMMANDS.splitlines() if line.startswith("python run.py")]
TRAINED = {"my_bandit": RUNS[0], "my_strings": RUNS[1], "text": RUNS[2]}
GRID, FIGURE = RUNS[3:]
SIZES = {  # that make them fast
    "my_bandit": ("seeds=2", "train.steps=200"),
    "my_strings": ("seeds=2", "train.steps=20", "model.d_model=8", "model.layers=1"),
    "text": (
        *(setting for setting in TINY if setting.startswith("model.")),
        "env.batch=2",
        "train.eval_problems=4",
        "train.steps=8",
    ),
}


@pytest.fixture
def mine(tmp_path):
    """The folder that the page makes."""
    for line in CLASSES.splitlines():
        package, *arguments = shlex.split(line)[2:]
        scaffold = next(new for new in NEW.values() if package == f"{new.package}.new")
        assert scaffold.main([*arguments[:-1], str(tmp_path / arguments[-1])]) == 0
    subprocess.run(["bash", "-ec", TEXT.replace("python ", f"{sys.executable} ")], cwd=tmp_path, check=True)
    return tmp_path / "mine"


def test_what_the_page_makes_is_trained_swept_drawn_and_ranked(mine, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for env, arguments in TRAINED.items():
        code, out = command(monkeypatch, capsys, *arguments, *SIZES[env], "train.steps=5")
        assert code == 0 and "My method" in out, out
    small = ("seeds=2", "train.steps=5", "env.batch=8")
    # in a process of its own, since workers that other tests have started are in another folder
    done = subprocess.run([sys.executable, ROOT / "run.py", *GRID, *small], capture_output=True, text=True)
    assert done.returncode == 0 and "sweep 6/6: 6 done" in done.stdout, done.stdout + done.stderr
    assert all((tmp_path / "runs" / env / "curves.png").exists() for env in ("my_bandit", "my_strings"))
    code, out = command(monkeypatch, capsys, *TRAINED["text"], *SIZES["text"], "algo=tpo", "train.steps=5")
    assert code == 0, out
    assert command(monkeypatch, capsys, *FIGURE)[0] == 0
    for path in mine.iterdir():  # what was trained is shown without it
        if path.is_file():
            path.unlink()
    drawn = [line.split()[3:] for line in COMMANDS.splitlines() if line.startswith("python -m analysis")]
    shown = []
    for arguments in drawn:
        assert analysis(arguments) == 0
        shown.append(capsys.readouterr().out)
    assert [arguments[0] for arguments in drawn] == ["fig02", "table", "leaderboard"]
    figures = tmp_path / "figures"
    assert "My method" in (figures / "fig02.csv").read_text() and (figures / "fig02.png").stat().st_size > 1000
    assert "My method" in shown[1]
    assert all(text in shown[2] for text in ("My method", "My bandit", "My strings"))
    assert (figures / "leaderboard_runs.png").stat().st_size > 1000


@pytest.fixture
def one_thread():
    """As many as the processes that are killed have, since sums of floats depend on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_what_the_page_trains_goes_on_after_a_kill_with_the_same_numbers(
    mine, tmp_path, monkeypatch, capsys, one_thread
):
    for env, page in TRAINED.items():
        arguments = [re.sub(r"=mine\b", f"={mine}", argument) for argument in page]  # from any working directory
        arguments += [*SIZES[env], f"train.checkpoint_every={20 if env == 'my_bandit' else 2}"]
        killed, quiet = tmp_path / f"{env}_killed", tmp_path / f"{env}_quiet"
        process, _ = start(killed, "first", arguments)
        wait_for_checkpoint(killed)
        process.kill()
        process.join()
        code, out = command(monkeypatch, capsys, *arguments, f"runs_dir={killed}")
        assert code == 0 and "resumed at step" in out
        assert command(monkeypatch, capsys, *arguments, f"runs_dir={quiet}")[0] == 0
        found = [numbers(run) for folder in (killed, quiet) for run in RunStore(folder).runs()]
        assert len(found) == 2 and found[0].equals(found[1]) and len(found[0]) >= 8


def numbers(run):
    """What a run recorded, without what depends on the clock."""
    frame = run.frame()
    return frame[~frame.metric.str.endswith("_per_second")].reset_index(drop=True)
