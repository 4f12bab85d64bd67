"""Files made before, found again by the content of all that they depend on."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from store.runs import atomic_write

ROOT = Path(__file__).resolve().parent.parent
CODE = ("analysis", "conf", "store", "sweeps")  # the folders of all code and settings that a file depends on
PACKAGES = ("hydra-core", "matplotlib", "numpy", "omegaconf", "pandas", "pyarrow", "scipy")
MAX_ENTRIES = 500  # entries; those that were not used for longest give way
Files = dict[str, bytes]  # {name: content}


class Damaged(Exception):
    """An entry is not what was written."""


@dataclass(frozen=True)
class Cache:
    """A folder that may be deleted at any time: what is missing, damaged or of other code is made again."""

    folder: Path

    def get(self, key: Any, make: Callable[[], Files]) -> Files:
        """The result of `make` for this `key`, from now or earlier. The key is JSON of all inputs but the code."""
        path = self._path(key)
        with suppress(OSError, Damaged):
            files = _unpacked(path.read_bytes())
            with suppress(OSError):  # a cache that may only be read
                os.utime(path)
            return files
        files = make()
        with suppress(OSError):  # a folder that cannot be written costs time, and nothing else
            self._add(path, _packed(files))
        return files

    def get_json(self, key: Any, make: Callable[[], Any]) -> Any:
        """The same for a result that is no files but JSON."""
        return json.loads(self.get(key, lambda: {"json": json.dumps(make()).encode()})["json"])

    def has(self, key: Any) -> bool:
        """Whether there is an entry, be it damaged."""
        return self._path(key).exists()

    def _path(self, key: Any) -> Path:
        return self.folder / hashlib.sha256(json.dumps([code(), key], sort_keys=True).encode()).hexdigest()

    def _add(self, path: Path, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic_write(path, lambda temporary: temporary.write_bytes(content))
        for old in sorted(self.folder.iterdir(), key=lambda entry: entry.stat().st_mtime)[:-MAX_ENTRIES]:
            old.unlink(missing_ok=True)


@cache
def code() -> str:
    """Hash of our code and settings, and the versions of what they use."""
    paths = [path for folder in CODE for path in sorted((ROOT / folder).rglob("*.*")) if path.suffix != ".pyc"]
    found = hashlib.sha256(json.dumps([version(package) for package in PACKAGES]).encode())
    for path in paths:
        found.update(f"{path.relative_to(ROOT)} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _packed(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


def _unpacked(entry: bytes) -> Files:
    """The files of an entry; raises Damaged."""
    digest, content = entry[:32], entry[32:]
    if hashlib.sha256(content).digest() != digest:
        raise Damaged
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
