"""Runs from a folder into an archive, and back."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from store import metrics
from store.archive import ArchivedRun, ArchiveError, Key, contents, usable, verified, write
from store.results import unite_newest
from store.runs import Run, RunBusy, RunStore, atomic_write

Report = tuple[bool, str]  # whether it went well, and one line of what was done


def finished_runs(store: RunStore) -> dict[str, dict[Key, Run]]:
    """{env: {key: run}} of the runs that have a finished seed."""
    found: dict[str, dict[Key, Run]] = {}
    for run in store.runs():
        if run.seeds_done():
            key = run.path.parts[-3:]
            found.setdefault(key[0], {})[key] = run
    return found


def export(runs: dict[Key, Run], file: Path) -> Report:
    """Add `runs` to an archive's file, which stays as it was if anything goes wrong."""
    try:
        old = {run.key: run for run in verified(file)} if file.exists() else {}
        merged = old | {key: unite_newest(run, old[key]) if key in old else run for key, run in runs.items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(file, lambda path: write(path, sorted(merged.items(), key=lambda item: item[0])))
        seeds = _seeds(contents(file))
    except (ArchiveError, OSError) as error:
        kept = f"; {file} is as it was" if file.exists() else ""
        return False, f"{file}: not written ({error}){kept}"
    return True, f"{file}: {len(merged)} runs, {seeds} seeds, {file.stat().st_size / 1e3:.0f} kB"


def load(file: Path, store: RunStore, force: bool) -> Iterator[Report]:
    """Add the runs of an archive's file to a folder, but nothing of a file that can not be read to its end."""
    try:
        runs = verified(file)
    except ArchiveError as error:
        yield False, f"not imported: {error}"
        return
    taken = 0
    for run in runs:
        if not usable(run):
            yield False, f"{'/'.join(run.key)}: not imported"
            continue
        try:
            taken += _take(run, Run(store.root.joinpath(*run.key)), force)
        except RunBusy:
            yield False, f"{'/'.join(run.key)}: not imported, another process is working on it"
        except OSError as error:
            yield False, f"{'/'.join(run.key)}: not imported ({error})"
    yield True, f"{file}: {len(runs)} runs, {taken} of {_seeds(runs)} seeds imported into {store.root}"


def _seeds(runs: list[ArchivedRun]) -> int:
    return sum(len(run.manifest()["seeds_done"]) for run in runs)


def _take(archived: ArchivedRun, run: Run, force: bool) -> int:
    """How many seeds of `archived` were written to `run`: those that it lacks, or all."""
    run.path.mkdir(parents=True, exist_ok=True)
    with run.claim():
        if not run.config():
            run.write_config(archived.config())
        seeds = set(archived.manifest()["seeds_done"]) - (set() if force else set(run.seeds_done()))
        if seeds:
            run.add(metrics.of_seeds(archived.read(), seeds), _batches(archived, run, seeds))
    return len(seeds)


def _batches(archived: ArchivedRun, run: Run, seeds: Iterable[int]) -> list[dict[str, Any]]:
    """How `seeds` were made, as far as `run` does not say so already."""
    known = run.manifest().get("batches", [])
    mine = archived.manifest().get("batches", [])
    return [batch for batch in mine if batch not in known and not {*batch.get("seeds", seeds)}.isdisjoint(seeds)]
