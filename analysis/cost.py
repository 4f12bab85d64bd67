"""What training would take, from what like runs took."""

from statistics import median
from typing import Any

from analysis.load import Row, Store

Kind = tuple[str, str, str, str, bool]  # task, objective, sampler, matching, whether its epochs are its own
Speeds = dict[Kind, float]  # {kind: seconds of one thread per unit of `_size`}
NEWEST = 5  # batches: the newest tell most of the machine that runs now


def speeds(store: Store) -> Speeds:
    """The median speed of the newest stored batches of each kind of run."""
    found: dict[Kind, list[tuple[str, float]]] = {}
    for run in store.runs():
        config = run.config()
        for batch in run.manifest().get("batches", []):
            if "cpu" in batch.get("device", "cpu"):
                seconds = batch["seconds"] * _threads(batch) / _size(config, len(batch["seeds"]))
                found.setdefault(_kind(config), []).append((batch.get("finished", ""), seconds))
    return {kind: median(value for _, value in sorted(values)[-NEWEST:]) for kind, values in found.items()}


def of_seeds(config: dict[str, Any], seeds: int, known: Speeds) -> float | None:
    """Seconds of one thread for so many seeds of a configuration; None where no like run is `known`.

    Time is taken to grow with seeds, steps, tokens, the width of the model and gradient epochs.
    """
    if not seeds:
        return 0.0
    ours = _kind(config)
    if (speed := known.get(ours)) is not None:
        return speed * _size(config, seeds)
    alike = [value for kind, value in known.items() if kind[0] == ours[0] and kind[2:] == ours[2:]]
    return median(alike) * _size(config, seeds) if alike else None


def seconds(rows: list[Row], known: Speeds) -> float | None:
    """Seconds of the seeds that `rows` lack; None where a row has no like among the `known`."""
    each = [of_seeds(row.config, max(0, len(row.only or ()) - row.seeds), known) for row in rows]
    return None if None in each else sum(each)


def _kind(config: dict[str, Any]) -> Kind:
    own_epochs = config["train"]["epochs"] is None
    return config["env"]["task"], config["algo"]["objective"], config["sampler"], config["match"], own_epochs


def _size(config: dict[str, Any], seeds: int) -> float:
    env, train, candidates = config["env"], config["train"], config["env"].get("candidates", 1)
    tokens = env.get("batch", 1) * env.get("horizon", 1) * candidates
    width = config["model"].get("d_model", 1)
    return seeds * train["steps"] * tokens * width * (train["epochs"] or 1)


def _threads(batch: dict[str, Any]) -> int:
    """Threads that a batch ran with, from a device such as "cpu (2 threads)"."""
    digits = "".join(filter(str.isdigit, batch.get("device", "")))
    return int(digits) if digits else 1
