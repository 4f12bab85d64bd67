"""Provenance of a run: versions of packages, commit of the code, and machine."""

import functools
import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from store.runs import Run, atomic_write

PACKAGES = ("torch", "numpy", "hydra-core", "pandas", "transformers", "trl", "vllm")
TRAINING = ("algorithms", "conf", "engines", "envs", "models", "rollouts", "training")
REPOSITORY = Path(__file__).resolve().parent.parent


def provenance(run: Run) -> dict[str, Any]:
    """Versions, platform and git commit. What is not committed is written into the run's folder, and named."""
    commit, diff = _git()
    info = {"python": platform.python_version(), "platform": platform.platform(), "versions": _versions()}
    info["commit"] = commit
    if diff:
        info["diff"] = f"diff-{hashlib.sha256(diff).hexdigest()[:12]}.patch"
        atomic_write(run.path / info["diff"], lambda p: p.write_bytes(diff))
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
def _git() -> tuple[str | None, bytes]:
    """The commit, and as a patch what is changed beside it, with new files of the packages that train."""

    def git(*args: str, codes: tuple[int, ...] = (0,)) -> bytes:
        done = subprocess.run(("git", *args), cwd=REPOSITORY, capture_output=True)
        if done.returncode not in codes:
            raise subprocess.CalledProcessError(done.returncode, done.args)
        return done.stdout

    try:
        commit = git("rev-parse", "HEAD").decode().strip()
        new = git("ls-files", "--others", "--exclude-standard", "-z", "--", *TRAINING).decode(errors="surrogateescape")
        added = [git("diff", "--no-index", os.devnull, file, codes=(0, 1)) for file in new.split("\0") if file]
        return commit, b"".join([git("diff", "HEAD"), *added])
    except (OSError, subprocess.CalledProcessError):
        return None, b""
