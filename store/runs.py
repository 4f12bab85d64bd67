"""RunStore: one folder per configuration, metrics of all its seeds, safe against crashes and twins."""

import json
import logging
import os
import platform
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml
from filelock import FileLock, Timeout

from store import metrics
from store.failure import describe, first_line, locate
from store.identity import canonical, identity, presentation, run_id

log = logging.getLogger(__name__)
# eight times faster, where PyYAML was built with them
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
ASKING_SECONDS = 10  # far more than anybody asks for, unless it was stopped meanwhile: then a run counts as busy


class OlderVersion(Exception):
    """A configuration lacks a key that distinguishes runs today."""


def require_mapping(value: Any) -> dict[str, Any]:
    """`value`, which has to be a dict."""
    if not isinstance(value, dict):
        raise ValueError("holds no mapping")
    return value


def validate_config(config: Any) -> dict[str, Any]:
    """`canonical` of a config; raises OlderVersion if it lacks a key of its identity, ValueError if it is none."""
    try:
        identity(require_mapping(config))
    except KeyError as error:
        raise OlderVersion(f"written by an older version: lacks {error}") from None
    except (TypeError, AttributeError):
        raise ValueError("holds no configuration") from None
    return canonical(config)


READERS: dict[str, Callable[[Path], Any]] = {
    "config.yaml": lambda path: validate_config(yaml.load(path.read_text(), LOADER)),
    "manifest.json": lambda path: require_mapping(json.loads(path.read_text())),
    "metrics.parquet": metrics.read,
}


def require_writable(key: str, folder: Path) -> None:
    """Make a folder; raises ValueError, whose message begins with `key`, unless files can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f"{key}{folder}: cannot write there ({error.strerror}); name a writable folder") from None


class RunBusy(Exception):
    """Another process is working on this run."""


def atomic_write(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file, then rename it to `path`: readers see the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _last_bytes(path: Path, count: int) -> bytes:
    """The end of a file; nothing where there is none."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - count))
        return file.read()


@dataclass(frozen=True)
class Run(metrics.MetricsReader):
    """runs/<env>/<algo>/<run_id>/: config.yaml, manifest.json, metrics.parquet and the newest checkpoints."""

    path: Path

    @property
    def checkpoints(self) -> tuple[Path, Path]:
        """The newest checkpoint and the one before it."""
        return self.path / "checkpoint.pt", self.path / "checkpoint.before.pt"

    @property
    def curve(self) -> Path:
        return self.path / "curve.png"

    def config(self) -> dict[str, Any]:
        return self._read("config.yaml") or {}

    def manifest(self) -> dict[str, Any]:
        return self._read("manifest.json") or {}

    def table(self) -> pa.Table:
        table = self._read("metrics.parquet")
        return metrics.NOTHING if table is None else table

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Hold this run alone; raises RunBusy if another process does.

        The lock is the kernel's (flock), so it ends with its process, whatever ends that. On NFS (version 4, or 3 with
        its lock service) the server keeps it for all machines, and gives up that of a machine which crashed when its
        lease ends (about 90 s) or it is back. A mount that keeps locks to one machine (nolock, local_lock) must not be
        shared. Where the disk has no flock at all, the lock is a file with machine and process in it: a dead process
        of the same machine holds nothing, a `.lock` left by another machine that died is for a person to delete.
        """
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            with self._one_at_a_time():
                lock.acquire()
        except Timeout:
            raise RunBusy(str(self.path)) from None
        try:
            yield
        finally:
            lock.release()

    def is_busy(self) -> bool:
        """Whether a process holds this run now."""
        try:
            with self._one_at_a_time(), FileLock(self.path / ".lock", timeout=0):
                return False
        except Timeout:
            return True

    def _one_at_a_time(self) -> FileLock:
        """Keeps a process that only asks, which holds the run while it does, from refusing it to another."""
        return FileLock(self.path / ".asking", timeout=ASKING_SECONDS, poll_interval=0.002)

    def has_metrics(self) -> bool:
        """Whether metrics.parquet is there to its end, which is far quicker to see than to read it."""
        return _last_bytes(self.path / "metrics.parquet", len(metrics.END)) == metrics.END

    def manifest_version(self) -> int:
        """Changes whenever the manifest does; 0 where there is none."""
        path = self.path / "manifest.json"
        return path.stat().st_mtime_ns if path.exists() else 0

    def save(self, frame: pd.DataFrame, batch: dict[str, Any]) -> None:
        """`add` the metrics of finished seeds, then delete their checkpoints."""
        self.add(pa.Table.from_pandas(frame, preserve_index=False), [batch])
        self.drop_checkpoints()

    def add(self, table: pa.Table, batches: list[dict[str, Any]]) -> None:
        """Add the finished seeds of `table`, replacing them where they exist; `batches` say how they were made."""
        merged = metrics.merge(self.table(), table)
        self._write("metrics.parquet", lambda path: metrics.write(merged, path))
        batches = [*self.manifest().get("batches", []), *batches]
        self.update(status="done", error=None, seeds_done=metrics.seeds(merged), batches=batches)
        self.traceback.unlink(missing_ok=True)

    def repair_manifest(self) -> None:
        """Where a process died between metrics and manifest, let the manifest agree; call it under a claim."""
        seeds = self.seeds_done()
        if seeds != self.manifest().get("seeds_done", []):
            self.drop_checkpoints()
            self.update(status="done", error=None, seeds_done=seeds)

    def add_samples(self, samples: list[dict[str, Any]]) -> None:
        """Append completions of a language model, one per line."""
        if samples:
            path = self.path / "samples.jsonl"
            is_torn = _last_bytes(path, 1) not in (b"", b"\n")  # the process died in the middle of a line
            with path.open("a") as file:
                file.write("\n" * is_torn)
                file.writelines(json.dumps(sample) + "\n" for sample in samples)

    def samples(self) -> list[dict[str, Any]]:
        """The appended lines, once each: a resumed run appends again those after its checkpoint."""
        found: dict[tuple, dict[str, Any]] = {}
        path = self.path / "samples.jsonl"
        for line in path.read_text().splitlines() if path.exists() else ():
            with suppress(ValueError):  # of a line that was torn
                sample = json.loads(line)
                which = sample.get("problem", sample["prompt"])  # older lines have no number of the problem
                found[(*(sample[key] for key in ("seed", "step", "split", "greedy")), which)] = sample
        return list(found.values())

    def drop_checkpoints(self) -> None:
        for path in self.checkpoints:
            path.unlink(missing_ok=True)

    @property
    def traceback(self) -> Path:
        """Of the newest failure, as text."""
        return self.path / "traceback.txt"

    def fail(self, error: BaseException) -> None:
        """Record an error: what and where in the manifest, its traceback beside it."""
        text = "".join(traceback.format_exception(error))
        atomic_write(self.traceback, lambda path: path.write_text(text))
        self.update(status="failed", error=describe(error), place=locate(error.__cause__ or error))

    def update(self, **fields: Any) -> None:
        text = json.dumps(self.manifest() | fields, indent=1)
        self._write("manifest.json", lambda p: p.write_text(text))

    def write_config(self, config: dict[str, Any]) -> None:
        self._write("config.yaml", lambda p: p.write_text(yaml.dump(config, Dumper=DUMPER, sort_keys=False)))

    def _write(self, name: str, write: Callable[[Path], Any]) -> None:
        path = self.path / name
        if path.exists() and self._read(name) is None:
            os.replace(path, path.with_name(f"{name}.damaged-{time.time_ns()}"))
        atomic_write(path, write)

    def _read(self, name: str) -> Any:
        path = self.path / name
        try:
            return READERS[name](path) if path.exists() else None
        except PermissionError:  # a file that is not damaged, so nothing may be trained in its place
            raise
        except OlderVersion as error:
            log.warning("skipped %s (%s)", path, error)
            return None
        except Exception as error:  # whatever a damaged file makes its parser raise
            log.warning("skipped damaged file %s (%s)", path, first_line(error))
            return None


@dataclass(frozen=True)
class RunStore:
    """All runs below `root`."""

    root: Path

    def open(self, config: dict[str, Any]) -> Run:
        """The run of a config, its folder made if need be; its config says how the run looks today."""
        run = self.find(config)
        run.path.mkdir(parents=True, exist_ok=True)
        stored = run.config()
        if not stored or presentation(stored) != presentation(config):
            run.write_config(config)
        return run

    def find(self, config: dict[str, Any]) -> Run:
        return Run(self.root / config["env"]["name"] / config["algo"]["name"] / run_id(config))

    def runs(self, kind: type[Run] = Run) -> Iterator[Run]:
        """Every readable run, in the order of their paths."""
        for path in sorted(self.root.glob("*/*/*/config.yaml")):
            run = kind(path.parent)
            try:
                is_readable = bool(run.config())
            except PermissionError as error:
                log.warning("skipped %s (%s)", path, error.strerror)
                continue
            if is_readable:
                yield run
