"""A runs folder with an archive behind it, read as one store."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from store.archive import Archive, ArchivedRun
from store.runs import Run, RunStore, merge


@dataclass(frozen=True)
class UnitedRun:
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
        seeds = {*mine.get("seeds_done", []), *other["seeds_done"]}
        return other | mine | {"batches": batches, "seeds_done": sorted(seeds)}

    def seeds_done(self) -> list[int]:
        return sorted({*self.first.seeds_done(), *self.second.seeds_done()})

    def frame(self) -> pd.DataFrame:
        """Metrics of the finished seeds: seed, step, metric, value."""
        mine, other = self.first.frame(), self.second.frame()
        return merge(mine, other[other.seed.isin(self.newer) | ~other.seed.isin(mine.seed.unique())])


ReadableRun = Run | ArchivedRun | UnitedRun


@dataclass(frozen=True)
class Results:
    """What `folder` has comes first; what it lacks, run or seed, comes from `archive`."""

    folder: RunStore
    archive: Archive

    def __str__(self) -> str:
        return f"{self.folder.root} or {self.archive.root}"

    def find(self, config: dict[str, Any]) -> ReadableRun:
        return _behind(self.folder.find(config), self.archive.find(config))

    def runs(self) -> Iterator[ReadableRun]:
        """Every readable run, in the order of environment, algorithm and id."""
        folder = {run.path.parts[-3:]: run for run in self.folder.runs()}
        archive = {run.key: run for run in self.archive.runs()}
        for key in sorted({*folder, *archive}):
            yield _behind(folder[key], archive.get(key)) if key in folder else archive[key]


def unite_newest(run: Run, archived: ArchivedRun) -> UnitedRun:
    """Both, with the newer numbers of each seed; `run`'s where neither is newer."""
    mine, other = _finished(run), _finished(archived)
    never = datetime.min.replace(tzinfo=UTC)
    newer = {seed for seed in other if other[seed] > mine.get(seed, never)}
    return UnitedRun(run, archived, frozenset(newer))


def _behind(run: Run, archived: ArchivedRun | None) -> ReadableRun:
    return run if archived is None else UnitedRun(run, archived)


def _finished(run: ReadableRun) -> dict[int, datetime]:
    """When each seed was computed last."""
    found: dict[int, datetime] = {}
    for batch in run.manifest().get("batches", []):
        if "finished" in batch:
            when = datetime.fromisoformat(batch["finished"])
            found |= {seed: max(when, found.get(seed, when)) for seed in batch["seeds"]}
    return found
