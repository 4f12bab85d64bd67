"""Archive: the finished seeds of many runs in one compact parquet file per environment, lossless, to read only."""

import json
import logging
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from store import metrics
from store.failure import first_line
from store.identity import canonical, paths, run_id
from store.runs import OlderVersion, validate_config

log = logging.getLogger(__name__)
VERSION = 2  # of the files: raise it with any change that this module of an earlier commit would misread
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
    "write_statistics": ["run"],  # by which other readers of parquet skip row groups
    "write_page_checksum": True,
}
# of a row group, which holds whole runs: they repeat each other, and each group has a description of its own
GROUP_ROWS = 20_000


class ArchiveError(Exception):
    """A file is damaged, is no archive, or has another version; the message names it."""


@dataclass(frozen=True)
class File:
    """A parquet file, opened once, which keeps the row group that it read last."""

    path: Path

    def __reduce__(self) -> tuple[type["File"], tuple[Path]]:
        """For another process, which opens it anew."""
        return File, (self.path,)

    @cached_property
    def _opened(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path, page_checksum_verification=True)

    @property
    def metadata(self) -> dict[bytes, bytes]:
        return self._opened.metadata.metadata or {}

    @cached_property
    def row_group(self) -> Callable[[int], pa.Table]:
        return lru_cache(maxsize=1)(lambda i: self._opened.read_row_group(i).replace_schema_metadata())

    def table(self, run: str, group: int) -> pa.Table:
        table = self.row_group(group)
        return table.filter(pc.equal(table["run"], run)).drop_columns("run")


@dataclass(frozen=True)
class ArchivedRun(metrics.MetricsReader):
    """One run of a file, read as a `store.runs.Run` is."""

    file: File
    entry: dict[str, Any]

    @property
    def key(self) -> Key:
        return self.entry["env"], self.entry["algo"], self.entry["run"]

    @property
    def path(self) -> Path:
        """Where the run would lie if the archive were a runs folder."""
        return self.file.path.parent.joinpath(*self.key)

    def config(self) -> dict[str, Any]:
        return self._config

    @cached_property
    def _config(self) -> dict[str, Any]:
        return canonical(self.entry["config"])

    def manifest(self) -> dict[str, Any]:
        return self.entry["manifest"]

    def table(self) -> pa.Table:
        """A damaged file is named, and empty."""
        try:
            return self.read()
        except ArchiveError as error:
            log.warning("skipped %s", error)
            return metrics.NOTHING

    def read(self) -> pa.Table:
        """`table`, in the types in which the run was stored; raises ArchiveError if the file is damaged."""
        try:
            table = self.file.table(self.entry["run"], self.entry["group"])
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ArchiveError(f"damaged file {self.file.path} ({first_line(error)})") from None
        if not len(table) and self.manifest()["seeds_done"]:
            raise ArchiveError(f"damaged file {self.file.path} ({'/'.join(self.key)} has no rows)")
        types = self.entry["dtypes"]
        kept = [pa.type_for_alias(types[one.name]) if one.name in types else one.type for one in table.schema]
        return table.cast(pa.schema(zip(table.column_names, kept, strict=True)))


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
        validate_config(run.entry["config"])
    except (OlderVersion, ValueError) as error:
        log.warning("skipped %s in %s (%s)", "/".join(run.key), run.file.path, error)
        return False
    return True


def contents(path: Path) -> list[ArchivedRun]:
    """The runs of a file, from its metadata alone; raises ArchiveError."""
    file = File(path)
    try:
        metadata = file.metadata
    except (OSError, pa.ArrowException) as error:
        raise ArchiveError(f"damaged file {path} ({first_line(error)})") from None
    if ABOUT not in metadata:
        raise ArchiveError(f"{path}: it was not made by python -m store export")
    try:
        about = json.loads(metadata[ABOUT])
        if about["version"] != VERSION:
            raise ArchiveError(f"{path}: its archive version is {about['version']}, this code reads {VERSION}")
        # a run whose entry names no row group has one of its own
        entries = [{"group": i} | entry for i, entry in enumerate(unpacked(about["runs"]))]
        return [_described(ArchivedRun(file, entry)) for entry in entries]
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise ArchiveError(f"damaged file {path} ({first_line(error)})") from None


def verified(file: Path) -> list[ArchivedRun]:
    """The runs of a file after all of its data were read once; raises ArchiveError."""
    runs = contents(file)
    for run in runs:
        run.read()
    return runs


def write(path: Path, runs: Iterable[tuple[Key, Any]]) -> None:
    """Write (key, run) pairs as one file, in the order given."""
    entries: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, SCHEMA, **ENCODING) as writer:
        for number, group in enumerate(_row_groups(runs)):
            tables = []
            for key, run, table in group:
                named = table.append_column("run", pa.array([key[-1]] * len(table), pa.string()))
                tables.append(named.select(SCHEMA.names).cast(SCHEMA))
                entries.append(_entry(key, run, table) | {"group": number})
            rows = pa.concat_tables(tables)
            writer.write_table(rows, row_group_size=len(rows))
        writer.add_key_value_metadata({ABOUT: json.dumps({"version": VERSION, "runs": packed(entries)})})


def _row_groups(runs: Iterable[tuple[Key, Any]]) -> Iterator[list[tuple[Key, Any, pa.Table]]]:
    """The runs of each row group, each with its table: as many as have GROUP_ROWS rows together."""
    group: list[tuple[Key, Any, pa.Table]] = []
    for key, run in runs:
        group.append((key, run, run.table()))
        if sum(len(table) for *_, table in group) >= GROUP_ROWS:
            yield group
            group = []
    if group:
        yield group


def packed(entries: list[dict[str, Any]]) -> str:
    """Configs and manifests as compressed text: they repeat each other, and parquet compresses no metadata."""
    return b64encode(zlib.compress(json.dumps(entries).encode())).decode()


def unpacked(text: str) -> list[dict[str, Any]]:
    """What was `packed`; raises ValueError or zlib.error."""
    return json.loads(zlib.decompress(b64decode(text)))


def _entry(key: Key, run: Any, table: pa.Table) -> dict[str, Any]:
    """The entry of a run in the metadata of a file. All its seeds are done, and local paths are removed."""
    config, seeds = run.config(), metrics.seeds(table)
    local = dict.fromkeys(config["env"].keys() & {*paths(config["env"])})
    config = config | {"env": config["env"] | local}
    manifest = run.manifest() | {"status": "done", "error": None, "place": None, "seeds_done": seeds}
    dtypes = {
        name: np.dtype(table.schema.field(name).type.to_pandas_dtype()).name for name in ("seed", "step", "value")
    }
    names = dict(zip(("env", "algo", "run"), key, strict=True))
    return names | {"config": config, "manifest": manifest, "dtypes": dtypes}


def _described(run: ArchivedRun) -> ArchivedRun:
    """`run`, if its entry has all required keys; raises KeyError, TypeError or ValueError."""
    if not all(Path(part).name == part for part in run.key):  # they become folders at import
        raise ValueError(f"{'/'.join(run.key)} is no name of a run")
    _ = run.entry["config"], run.manifest()["seeds_done"], run.entry["dtypes"]
    return run
