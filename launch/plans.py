"""Plans: which sweeps and suites to train, with which seeds, in order of value."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.errors import HydraException

from analysis import catalogue, suite_rows, suites
from analysis.compare import compare
from analysis.compose import overrides_of, read_yaml, sweep_names
from analysis.load import Row, Store, sweep_rows
from analysis.paper import TABLES
from analysis.undecided import undecided_cells
from conf.messages import ConfigError, explain, unknown
from store.identity import MOST_SEEDS, run_id
from store.results import Results

KINDS = ("sweep", "suite", "undecided", "plan")
EXAMPLES = {"seeds": "3", "scale": "quick"}


@dataclass(frozen=True)
class Entry:
    """One step of a plan: a sweep, a track of a suite, or those cells of a table of the paper whose order of methods is
    undecided.

    suite  a name, or a file of one's own such as mine.yaml
    set    overrides that replace axes of the sweep, separated by spaces
    seeds  number of seeds 0 .. seeds - 1; null: those of the sweep file
    scale  paper or quick
    algo   of a suite: an algorithm, several with commas between, or glob(*)
    track  of a suite: default or tuned
    origin the file and the place in it, for messages
    """

    sweep: str | None = None
    suite: str | None = None
    undecided: str | None = None
    algo: str = "glob(*)"
    track: str = "default"
    set: str = ""
    seeds: int | None = None
    scale: str = "paper"
    origin: str = ""


@dataclass(frozen=True)
class Task:
    """One configuration, the seeds of it that a plan wants, and the sweep or track for which it wants them."""

    row: Row
    seeds: tuple[int, ...]
    source: str

    @property
    def name(self) -> str:
        return " ".join(self.row.overrides)

    def missing(self, store: Results) -> tuple[int, ...]:
        """The seeds that are still to be trained, as the store says now."""
        done = store.seeds_done_now(self.row.config)
        return tuple(seed for seed in self.seeds if seed not in done)

    def is_busy(self, store: Results) -> bool:
        """Whether a process trains it now."""
        run = store.folder.find(self.row.config)
        return bool(self.missing(store)) and run.path.exists() and run.is_busy()

    def is_free(self, store: Results) -> bool:
        """Whether seeds are missing that no process trains now."""
        return bool(self.missing(store)) and not self.is_busy(store)

    def without_run(self) -> "Task":
        """The task as another process can take it."""
        return replace(self, row=replace(self.row, run=None))


def read(name: str, within: tuple[Path, ...] = ()) -> list[Entry]:
    """The entries of a plan, those of the plans that it includes in their place; raises ConfigError."""
    path, lines = read_yaml("plan", name, within)
    if not isinstance(lines, list) or not lines:
        raise ConfigError(f"{path}: must be a list of entries such as - {{sweep: fig07, seeds: 10}}")
    found: list[Entry] = []
    for number, line in enumerate(lines, 1):
        origin = f"{path}, entry {number}"
        try:
            found += read(line["plan"], (*within, path)) if _is_plan(line) else [_entry(line, origin)]
        except ValueError as error:
            raise ConfigError(f"{origin}: {error}") from None
    return found


def tasks(entries: Iterable[Entry], store: Store, algo_path: str | None = None) -> Iterator[Task]:
    """The tasks to train, in the order of the plan.

    algo_path  a folder of one's own algorithms, for suites
    """
    for entry in entries:
        try:
            yield from _track(entry, store, algo_path) if entry.suite else _cells(entry, store)
        except (ConfigError, HydraException) as error:
            text = explain(error, [])
            raise ConfigError(f"{entry.origin}: {text}" if entry.origin else text) from None


def may_grow(entries: tuple[Entry, ...]) -> bool:
    """Whether what was trained decides what else is to be trained."""
    return any(entry.undecided or entry.track == "tuned" for entry in entries)


def _track(entry: Entry, store: Store, algo_path: str | None) -> Iterator[Task]:
    suite = suites.read(entry.suite)
    rows = suite_rows.default_rows if entry.track == "default" else suite_rows.tuned_rows
    for algo in suites.methods(suite, entry.algo, algo_path):
        for row in rows(suite, algo, store, algo_path):
            yield Task(row, row.only, f"{suite.name}, {entry.track} track")


def _cells(entry: Entry, store: Store) -> Iterator[Task]:
    """The tasks of a sweep, or of the undecided cells of a table."""
    is_sweep, overrides = entry.undecided is None, overrides_of(entry.set)
    for row in sweep_rows(entry.sweep, store, entry.scale, overrides) if is_sweep else _undecided(entry, store):
        seeds = row.only if entry.seeds is None else tuple(range(entry.seeds))
        yield Task(row, seeds, row.overrides[0].partition("=")[2])


def _undecided(entry: Entry, store: Store) -> list[Row]:
    """The rows of a table's cells whose methods cannot be put in order yet."""
    rows = catalogue.rows(TABLES[entry.undecided].figure, store, entry.scale)
    cells = undecided_cells(entry.undecided, compare(entry.undecided, rows))
    undecided = set(cells.get("run", ()))  # without any run there is no such column
    return [row for row in rows if run_id(row.config) in undecided]


def _is_plan(line: Any) -> bool:
    return isinstance(line, dict) and list(line) == ["plan"] and isinstance(line["plan"], str)


def _entry(line: Any, origin: str) -> Entry:
    """An entry as its line gives it; raises ValueError."""
    fields = [field.name for field in dataclasses.fields(Entry) if field.name != "origin"]
    if not isinstance(line, dict) or sum(kind in line for kind in KINDS) != 1:
        raise ValueError(f"{line}: must have one of the keys {', '.join(KINDS)}")
    if "plan" in line:
        raise ValueError(f"{line}: plan must be a name or a file, and the only key")
    for key in line:
        if key not in fields:
            raise ValueError(unknown(str(key), fields))
    entry = Entry(**line, origin=origin)
    for key in ("set", "seeds", "scale") if "suite" in line else ("algo", "track"):
        if key in line:
            raise ValueError(f"{key}={line[key]}: {line} does not use this key; remove it")
    choices = {"sweep": sweep_names(), "suite": suites.names(), "undecided": list(TABLES)}
    for key, allowed in (choices | {"scale": ("paper", "quick"), "track": suites.TRACKS}).items():
        value = getattr(entry, key)
        if key == "suite" and str(value).endswith(".yaml"):
            suites.read(value)  # a file of one's own, which says what is wrong with it
        elif key in line and value not in allowed:
            raise ValueError(unknown(f"{key}={value}", sorted(allowed), "not found"))
    if entry.seeds is not None and not (type(entry.seeds) is int and 1 <= entry.seeds <= MOST_SEEDS):
        raise ValueError(f"seeds={entry.seeds}: must be a number from 1 to {MOST_SEEDS}")
    if not isinstance(entry.algo, str):
        raise ValueError(f"algo={entry.algo}: must be a name, names with commas between, or glob(*)")
    overrides = overrides_of(entry.set) if isinstance(entry.set, str) else [""]
    if not all("=" in override for override in overrides):
        raise ValueError(f"set={entry.set}: must be overrides such as 'algo=tpo,dg env.horizon=8'")
    for key in ("seeds", "scale"):
        if any(override.startswith(f"{key}=") for override in overrides):
            raise ValueError(f"set={entry.set}: {key} is a key of the entry itself, such as {key}: {EXAMPLES[key]}")
    return entry
