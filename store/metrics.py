"""The metrics of a run as an Arrow table: a line for each seed, step and metric, with its value."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

COLUMNS = ["seed", "step", "metric", "value"]
NOTHING = pa.schema(zip(COLUMNS, (pa.int64(), pa.int32(), pa.string(), pa.float32()), strict=True)).empty_table()
END = b"PAR1"  # of every parquet file


class MetricsReader:
    """A run that can be read."""

    def table(self) -> pa.Table:
        """Metrics of the finished seeds: seed, step, metric, value."""
        raise NotImplementedError

    def frame(self) -> pd.DataFrame:
        """`table` for pandas."""
        return self.table().to_pandas()

    def seeds_done(self) -> list[int]:
        return seeds(self.table())


def read(path: Path) -> pa.Table:
    """The table of a run's file; raises what pyarrow raises for a damaged one."""
    return pq.ParquetFile(path).read(COLUMNS).select(COLUMNS).replace_schema_metadata()


def write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd")


def seeds(table: pa.Table) -> list[int]:
    return sorted(pc.unique(table["seed"]).to_pylist())


def of_seeds(table: pa.Table, chosen: Iterable[int]) -> pa.Table:
    """The lines of the `chosen` seeds."""
    return table.filter(pc.is_in(table["seed"], pa.array(sorted(chosen), table["seed"].type)))


def merge(kept: pa.Table, added: pa.Table) -> pa.Table:
    """The seeds of both tables, those of `added` where both have them, in the order in which runs are stored."""
    kept = of_seeds(kept, {*seeds(kept)} - {*seeds(added)})
    both = pa.concat_tables([kept, added], promote_options="permissive") if len(kept) else added
    return both.sort_by([(column, "ascending") for column in ("seed", "metric", "step")])
