"""The README's baseline, taken out of the README and put to work."""

import re
import shutil
import subprocess
import sys

from tests.helpers import ROOT

README = (ROOT / "README.md").read_text()
FOLDERS = ("algorithms", "analysis", "conf", "envs", "hydra_plugins", "launch", "models", "store", "sweeps", "tests")
FOLDERS += ("training",)
FILES = ("run.py", "pyproject.toml")


def block(language: str, containing: str) -> str:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    (found,) = (text for kind, text in blocks if kind == language and containing in text)
    return found


def test_the_baseline_in_the_readme_runs_and_keeps_the_contract(tmp_path):
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    code = block("python", "class Mine")
    assert len(code.splitlines()) <= 35
    (tmp_path / "algorithms" / "mine.py").write_text(code)
    (tmp_path / "conf" / "algo" / "mine.yaml").write_text(block("yaml", "name: mine"))

    def python(*args: str) -> str:
        done = subprocess.run([sys.executable, *args], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    out = python("run.py", "-m", "algo=mine,tpo", "seeds=2", "train.steps=5")
    assert "Mine" in out and "TPO" in out
    passed = python("-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/test_contract.py", "-k", "mine")
    assert int(re.search(r"(\d+) passed", passed)[1]) >= 15
    python("-m", "analysis", "table", "sparse_bandit")
    assert "Mine" in (tmp_path / "figures" / "table_sparse_bandit.csv").read_text()


def test_every_file_and_folder_in_the_tree_exists():
    tree = block("", "compose -> validate")
    for line in tree.splitlines():
        assert (ROOT / line.split()[0]).exists(), line


def test_every_command_names_things_that_exist():
    for module in set(re.findall(r"python -m ([\w.]+)", README)) - {"pytest"}:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for picture in re.findall(r"!\[[^]]*]\(([^)]+)\)", README):
        assert (ROOT / picture).exists()
