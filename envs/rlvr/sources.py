"""Rows and a reward function of the user's, identified by the content of their files."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from algorithms.base import as_typed
from envs.rlvr.child import NotStartedError
from envs.rlvr.grades import Case
from envs.rlvr.in_process import InProcess
from envs.rlvr.own import UnusableError
from envs.rlvr.rows import Row, answer_of, load
from envs.rlvr.verify import Pool, fingerprint, new_pool

ALLOWED = "a file and a function in it, FILE.py:NAME, such as env.reward=score.py:score"
_files: dict[str, list[str]] = {}  # {rule: the files that it consists of}
_opened: dict[tuple[str, str, bool], "Sources"] = {}  # {(content_hash, FILE.py:NAME, whether in process): sources}


@dataclass(frozen=True)
class Sources:
    """Rows of each split, and what grades completions to them."""

    content_hash: str
    rows: dict[str, list[Row]]
    grader: Pool | InProcess


def open_sources(files: dict[str, str], reward: str | None, in_process: bool) -> Sources:
    """Rows of `files` (rows.load) and the function FILE.py:NAME; raises ValueError where one of them cannot be used.

    A child is started to find that out, but not for contents that this process knows already.
    """
    digest, rows = load(files)
    rule, name = _rule(reward)
    known = known_sources(_hash(digest, name, _files.get(rule)), reward, in_process)
    if known:
        return known
    row = rows["train"][0]
    try:
        sample = Case(row, answer_of(row), "")
        grader = InProcess(rule, sample) if in_process else new_pool(rule, sample)
        _files[rule] = grader.start()
    except (UnusableError, NotStartedError) as error:
        raise ValueError(f"reward={reward}: {getattr(error, 'reason', error)}") from None
    found = Sources(_hash(digest, name, _files[rule]), rows, grader)
    return _opened.setdefault((found.content_hash, reward, in_process), found)


def known_sources(content_hash: str, reward: str, in_process: bool) -> Sources | None:
    """The data that this process has opened already."""
    return _opened.get((content_hash, reward, in_process))


def _rule(reward: str | None) -> tuple[str, str]:
    """FILE.py:NAME with the file's full path, and NAME."""
    file, _, name = (reward or "").rpartition(":")
    if not file.endswith(".py") or not name.isidentifier():
        raise ValueError(f"reward={as_typed(reward)}: must be {ALLOWED}")
    path = Path(os.path.expanduser(file)).resolve()
    if not path.is_file():
        raise ValueError(f"reward={reward}: no such file; it must be {ALLOWED}")
    return f"{path}:{name}", name


def _hash(digest: str, name: str, files: Sequence[str] | None) -> str:
    """Twelve hex digits; none where the files are not known, or one of them is gone."""
    if files is None or not all(Path(file).is_file() for file in files):
        return ""
    return hashlib.sha256(json.dumps([digest, name, fingerprint(files)]).encode()).hexdigest()[:12]
