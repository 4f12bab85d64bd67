"""What a sweep that was not run would take, from what like runs took."""

from statistics import median
from typing import Any

from analysis.load import Row, Store


def seconds(rows: list[Row], store: Store) -> float | None:
    """Seconds of the seeds that `rows` lack, at the median speed of stored runs of the same task and method.

    None where a row has no like. Time is taken to grow with seeds, steps and tokens.
    """
    speeds: dict[tuple[str, str], list[float]] = {}
    for run in store.runs():
        config = run.config()
        for batch in run.manifest().get("batches", []):
            speeds.setdefault(_kind(config), []).append(batch["seconds"] / _size(config, len(batch["seeds"])))
    missing = [(row.config, len(row.only) - row.seeds) for row in rows if row.only and row.seeds < len(row.only)]
    if any(_kind(config) not in speeds for config, _ in missing):
        return None
    return sum(median(speeds[_kind(config)]) * _size(config, seeds) for config, seeds in missing)


def _kind(config: dict[str, Any]) -> tuple[str, str]:
    return config["env"]["task"], config["algo"]["objective"]


def _size(config: dict[str, Any], seeds: int) -> float:
    env = config["env"]
    return seeds * config["train"]["steps"] * env.get("batch", 1) * env.get("horizon", 1) * env.get("candidates", 1)
