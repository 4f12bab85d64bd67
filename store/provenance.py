"""Provenance of a run: versions of packages, commit of the code, and machine."""

import functools
import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from store.runs import Run, atomic_write

PACKAGES = ("torch", "numpy", "hydra-core", "pandas", "transformers", "trl", "vllm")
REPOSITORY = Path(__file__).resolve().parent.parent


def provenance(run: Run) -> dict[str, Any]:
    """Versions, platform and git commit. An uncommitted diff is written into the run's folder, and named."""
    commit, diff = _git()
    info = {"python": platform.python_version(), "platform": platform.platform(), "versions": _versions()}
    info["commit"] = commit
    if diff:
        info["diff"] = f"diff-{hashlib.sha256(diff.encode()).hexdigest()[:12]}.patch"
        atomic_write(run.path / info["diff"], lambda p: p.write_text(diff))
    return info


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def _git() -> tuple[str | None, str]:
    def git(*args: str) -> str:
        return subprocess.run(("git", *args), cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout

    try:
        return git("rev-parse", "HEAD").strip(), git("diff", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return None, ""
