"""What a sweep that was not run would take, from what like runs took."""

from statistics import median
from typing import Any

from analysis.load import Row, Store

Speeds = dict[tuple[str, str], float]  # {(task, objective): seconds per unit of `_size`}


def speeds(store: Store) -> Speeds:
    """The median speed of the stored runs of each task and method."""
    found: dict[tuple[str, str], list[float]] = {}
    for run in store.runs():
        config = run.config()
        for batch in run.manifest().get("batches", []):
            found.setdefault(_kind(config), []).append(batch["seconds"] / _size(config, len(batch["seeds"])))
    return {kind: median(values) for kind, values in found.items()}


def seconds(rows: list[Row], known: Speeds) -> float | None:
    """Seconds of the seeds that `rows` lack; None where a row has no like among the `known`.

    Time is taken to grow with seeds, steps and tokens.
    """
    missing = [(row.config, len(row.only) - row.seeds) for row in rows if row.only and row.seeds < len(row.only)]
    if any(_kind(config) not in known for config, _ in missing):
        return None
    return sum(known[_kind(config)] * _size(config, seeds) for config, seeds in missing)


def _kind(config: dict[str, Any]) -> tuple[str, str]:
    return config["env"]["task"], config["algo"]["objective"]


def _size(config: dict[str, Any], seeds: int) -> float:
    env = config["env"]
    return seeds * config["train"]["steps"] * env.get("batch", 1) * env.get("horizon", 1) * env.get("candidates", 1)
