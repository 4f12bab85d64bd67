"""A runs folder with an archive behind it, read as one store."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from store import metrics
from store.archive import Archive, ArchivedRun, Key
from store.runs import Run, RunStore

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class UnitedRun(metrics.MetricsReader):
    """Two records of one run as one: `first`, and of `second` the seeds that `first` lacks or that are `newer`."""

    first: Run
    second: ArchivedRun
    newer: frozenset[int] = frozenset()

    @property
    def path(self):
        return self.first.path

    def config(self) -> dict[str, Any]:
        return self.second.config() | self.first.config()

    def manifest(self) -> dict[str, Any]:
        mine, other = self.first.manifest(), self.second.manifest()
        batches = mine.get("batches", [])
        batches = [*batches, *(batch for batch in other.get("batches", []) if batch not in batches)]
        batches.sort(key=_when)  # what was trained last stands last
        seeds = {*mine.get("seeds_done", []), *other["seeds_done"]}
        return other | mine | {"batches": batches, "seeds_done": sorted(seeds)}

    def table(self) -> pa.Table:
        mine, other = self.first.table(), self.second.table()
        added = {*metrics.seeds(other)} - ({*metrics.seeds(mine)} - self.newer)
        return metrics.merge(mine, metrics.of_seeds(other, added)) if added else mine


@dataclass(frozen=True)
class RunReadOnce(Run):
    """A run whose config and manifest stay as they were at the first look."""

    def config(self) -> dict[str, Any]:
        return self._config

    def manifest(self) -> dict[str, Any]:
        return self._manifest

    @cached_property
    def _config(self) -> dict[str, Any]:
        return super().config()

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        return super().manifest()


ReadableRun = Run | ArchivedRun | UnitedRun


@dataclass(frozen=True)
class Results:
    """Runs and seeds of `folder`, and from `archive` those that it lacks.

    Both are listed once: a figure that is drawn while runs come in shows one state of them.
    """

    folder: RunStore
    archive: Archive

    def __str__(self) -> str:
        return f"{self.folder.root} or {self.archive.root}"

    @property
    def root(self) -> Path:
        return self.folder.root

    def seeds_done_now(self, config: dict[str, Any]) -> set[int]:
        """The finished seeds of a configuration, also those that a process finished after the first look."""
        run, archived = self.folder.find(config), self.archive.find(config)
        damaged = not run.has_metrics() or (run.path in self._damaged and not run.config())
        manifests = [{} if damaged else run.manifest(), archived.manifest() if archived else {}]
        return {seed for manifest in manifests for seed in manifest.get("seeds_done", [])}

    def find(self, config: dict[str, Any]) -> ReadableRun:
        run = self.folder.find(config)
        return self._runs.get(run.path.parts[-3:], run)

    def runs(self) -> Iterator[ReadableRun]:
        """Every readable run, in the order of environment, algorithm and id."""
        yield from self._runs.values()

    @cached_property
    def _in_folder(self) -> dict[Key, RunReadOnce]:
        return {run.path.parts[-3:]: run for run in self.folder.runs(RunReadOnce)}

    @cached_property
    def _damaged(self) -> set[Path]:
        """Runs of the folder whose config could not be read at the first look; training writes it anew."""
        readable = {run.path for run in self._in_folder.values()}
        return {path.parent for path in self.root.glob("*/*/*/config.yaml")} - readable

    @cached_property
    def _runs(self) -> dict[Key, ReadableRun]:
        folder = self._in_folder
        archive = {run.key: run for run in self.archive.runs()}
        united = {key: UnitedRun(folder[key], archive[key]) for key in folder.keys() & archive.keys()}
        return dict(sorted((archive | folder | united).items()))


def unite_newest(run: Run, archived: ArchivedRun) -> UnitedRun:
    """Both, with the newer numbers of each seed; `run`'s where neither is newer."""
    mine, other = _finished(run), _finished(archived)
    newer = {seed for seed in other if other[seed] > mine.get(seed, NEVER)}
    return UnitedRun(run, archived, frozenset(newer))


def _when(batch: dict[str, Any]) -> datetime:
    """When a batch was finished; the oldest ones do not say it."""
    return datetime.fromisoformat(batch["finished"]) if "finished" in batch else NEVER


def _finished(run: ReadableRun) -> dict[int, datetime]:
    """When each seed was computed last."""
    found: dict[int, datetime] = {}
    for batch in run.manifest().get("batches", []):
        when = _when(batch)
        found |= {seed: max(when, found.get(seed, when)) for seed in batch.get("seeds", [])}
    return found
