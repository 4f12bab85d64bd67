"""Who may import whom, and which libraries stay out of reach until they are asked for."""

import ast
import subprocess
import sys

import pytest

from tests.helpers import ROOT

OURS = (
    "algorithms",
    "analysis",
    "benchmarks",
    "conf",
    "engines",
    "envs",
    "launch",
    "models",
    "reference",
    "rollouts",
    "store",
    "training",
)
NEW = {"conf.scaffold", "conf.entry"}  # what writes new files, as a command
TEXT = {"envs.rlvr.base", "envs.rlvr.splits", "envs.rlvr.tokens", "envs.rlvr.verify"}  # what every textual task has
OF_OWN = {"conf.discover", "conf.resolve"}  # where methods and tasks of a user's own are ranked
MAY_IMPORT = {
    "algorithms": {"algorithms", *NEW},
    "engines": {"algorithms.base", "conf.discover", "conf.values", "engines", "rollouts.vllm", "training", *TEXT},
    "envs": {"algorithms.base", "envs", *NEW},
    "models": {"algorithms.base", "models", "rollouts", *NEW},
    "rollouts": {"rollouts"},
    "training": {
        "algorithms.base",
        "algorithms.kl_penalty",
        "engines.trl_training",
        "envs.base",
        *TEXT,
        "models.base",
        "models.pretrained",
        "store",
        "training",
    },
    "store": {"store", "conf.entry"},
    "analysis": {
        "analysis",
        "store",
        *OF_OWN,
        "conf.compose",
        "conf.messages",
        "conf.own_files",
        "conf.screen",
        "conf.sweep",
        "conf.entry",
    },
}
MAY_NOT_IMPORT = {
    "algorithms": {"numpy", "pandas", "hydra", "omegaconf"},
    "store": {"torch", "hydra", "omegaconf"},
    "analysis": {"torch"},
    "training": {"hydra", "omegaconf", "matplotlib"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}


def under(name: str, parents: set[str]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_what_they_may(package):
    for path in (ROOT / package).rglob("*.py"):
        modules = {name for name in imports(path) if (ROOT / f"{name.replace('.', '/')}.py").exists()}
        assert not {name for name in modules if not under(name, MAY_IMPORT[package])}, path
        assert not any(under(name, MAY_NOT_IMPORT.get(package, set())) for name in imports(path)), path


def test_modules_keep_to_their_budget():
    lengths = [len(p.read_text().splitlines()) for package in OURS for p in (ROOT / package).rglob("*.py")]
    assert max(lengths) <= 350
    assert sorted(lengths)[len(lengths) // 2] < 120


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (("analysis.command", "analysis.report", "store.runs"), {"torch"}),
        (
            ("launch.command", "envs.rlvr.gym", "envs.rlvr.gsm8k"),
            {"wandb", "vllm", "joblib", "submitit", "transformers", "tokenizers", "datasets", "reasoning_gym"},
        ),
        (("envs.rlvr.worker", "envs.rlvr.rules"), {"torch", "numpy", "omegaconf"}),
    ],
)
def test_heavy_libraries_stay_out(modules, absent):
    code = f"import sys, {', '.join(modules)}; sys.exit(bool({absent!r} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
