"""Archive: the finished seeds of many runs in one compact parquet file per environment, lossless, to read only."""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from store.identity import paths, run_id
from store.runs import COLUMNS, OlderVersion, validate_config

log = logging.getLogger(__name__)
VERSION = 1  # of the files: raise it with any change that this module of an earlier commit would misread
ABOUT = b"tpo-suite"  # the metadata that holds version, configs and manifests
Key = tuple[str, str, str]  # env, algo, run id
# float64 holds every float32, and its constant low bytes compress to nothing
SCHEMA = pa.schema(
    [("run", pa.string()), ("seed", pa.int64()), ("step", pa.int64()), ("metric", pa.string()), ("value", pa.float64())]
)
ENCODING = {
    "compression": "zstd",
    "compression_level": 19,
    "use_dictionary": ["run", "metric"],
    "column_encoding": {"seed": "DELTA_BINARY_PACKED", "step": "DELTA_BINARY_PACKED", "value": "PLAIN"},
    "write_statistics": ["run"],  # by which a reader finds a run's row group
    "write_page_checksum": True,
}


class ArchiveError(Exception):
    """A file is damaged, is no archive, or has another version; the message names it."""


@dataclass(frozen=True)
class ArchivedRun:
    """One run of a file, read as a `store.runs.Run` is."""

    file: Path
    entry: dict[str, Any]

    @property
    def key(self) -> Key:
        return self.entry["env"], self.entry["algo"], self.entry["run"]

    @property
    def path(self) -> Path:
        """Where the run would lie if the archive were a runs folder."""
        return self.file.parent.joinpath(*self.key)

    def config(self) -> dict[str, Any]:
        return self.entry["config"]

    def manifest(self) -> dict[str, Any]:
        return self.entry["manifest"]

    def seeds_done(self) -> list[int]:
        return sorted(int(seed) for seed in self.frame().seed.unique())

    def frame(self) -> pd.DataFrame:
        """Metrics of the finished seeds: seed, step, metric, value. A damaged file is named, and empty."""
        try:
            return self.read()
        except ArchiveError as error:
            log.warning("skipped %s", error)
            return pd.DataFrame(columns=COLUMNS)

    def read(self) -> pd.DataFrame:
        """`frame`, in the types in which the run was stored; raises ArchiveError if the file is damaged."""
        chosen = [("run", "==", self.entry["run"])]
        try:
            table = pq.read_table(self.file, columns=COLUMNS, filters=chosen, page_checksum_verification=True)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ArchiveError(f"damaged file {self.file} ({_first_line(error)})") from None
        return table.to_pandas().astype(self.entry["dtypes"])


@dataclass(frozen=True)
class Archive:
    """All files of a folder."""

    root: Path

    @property
    def files(self) -> list[Path]:
        return sorted(self.root.glob("*.parquet"))

    def runs(self) -> Iterator[ArchivedRun]:
        """Every readable run."""
        yield from self._runs.values()

    def find(self, config: dict[str, Any]) -> ArchivedRun | None:
        return self._runs.get((config["env"]["name"], config["algo"]["name"], run_id(config)))

    @cached_property
    def _runs(self) -> dict[Key, ArchivedRun]:
        found = {}
        for file in self.files:
            try:
                found |= {run.key: run for run in contents(file) if usable(run)}
            except ArchiveError as error:
                log.warning("skipped %s", error)
        return found


def usable(run: ArchivedRun) -> bool:
    """Whether a run's config is one of today's; names the run if not."""
    try:
        validate_config(run.config())
    except (OlderVersion, ValueError) as error:
        log.warning("skipped %s in %s (%s)", "/".join(run.key), run.file, error)
        return False
    return True


def contents(file: Path) -> list[ArchivedRun]:
    """The runs of a file, from its metadata alone; raises ArchiveError."""
    try:
        metadata = pq.read_metadata(file).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise ArchiveError(f"damaged file {file} ({_first_line(error)})") from None
    if ABOUT not in metadata:
        raise ArchiveError(f"{file}: it was not made by python -m store export")
    try:
        about = json.loads(metadata[ABOUT])
        if about["version"] != VERSION:
            raise ArchiveError(f"{file}: its archive version is {about['version']}, this code reads {VERSION}")
        return [_described(ArchivedRun(file, entry)) for entry in about["runs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveError(f"damaged file {file} ({_first_line(error)})") from None


def verified(file: Path) -> list[ArchivedRun]:
    """The runs of a file after all of its data were read once; raises ArchiveError."""
    runs = contents(file)
    for run in runs:
        run.read()
    return runs


def write(path: Path, runs: Iterable[tuple[Key, Any]]) -> None:
    """Write (key, run) pairs as one file, a row group for each run, in the order given."""
    entries = []
    with pq.ParquetWriter(path, SCHEMA, **ENCODING) as writer:
        for key, run in runs:
            frame = run.frame()
            table = pa.Table.from_pandas(frame.assign(run=key[-1]), schema=SCHEMA, preserve_index=False)
            writer.write_table(table, row_group_size=len(frame))
            entries.append(_entry(key, run, frame))
        writer.add_key_value_metadata({ABOUT: json.dumps({"version": VERSION, "runs": entries})})


def _entry(key: Key, run: Any, frame: pd.DataFrame) -> dict[str, Any]:
    """What a file says of a run: every seed in it is done, and no path of the machine that made it."""
    config, seeds = run.config(), sorted(int(seed) for seed in frame.seed.unique())
    local = dict.fromkeys(config["env"].keys() & {*paths(config["env"])})
    config = config | {"env": config["env"] | local}
    manifest = run.manifest() | {"status": "done", "error": None, "place": None, "seeds_done": seeds}
    dtypes = {name: str(frame[name].dtype) for name in ("seed", "step", "value")}
    names = dict(zip(("env", "algo", "run"), key, strict=True))
    return names | {"config": config, "manifest": manifest, "dtypes": dtypes}


def _described(run: ArchivedRun) -> ArchivedRun:
    """`run` if its file says all that a run has; raises KeyError, TypeError or ValueError."""
    if not all(Path(part).name == part for part in run.key):  # they become folders at import
        raise ValueError(f"{'/'.join(run.key)} is no name of a run")
    _ = run.config(), run.manifest()["seeds_done"], run.entry["dtypes"]
    return run


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
