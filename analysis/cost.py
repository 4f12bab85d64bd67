"""The time that training would take, estimated from similar runs."""

from dataclasses import dataclass
from statistics import median
from typing import Any

from analysis.load import Row, Store

Kind = tuple[str, str, str, str, bool]  # task, objective, sampler, matching, whether its epochs are its own
NEWEST = 5  # batches: the newest tell most of the machine that runs now


@dataclass(frozen=True)
class Speed:
    """Seconds of one thread per unit of `_size`, of a method that draws a single answer to a prompt or a group."""

    seconds: float
    single: bool = False

    def of(self, config: dict[str, Any], seeds: int) -> float:
        """Seconds of so many seeds of a configuration."""
        return self.seconds * _size(config, seeds, self.single)


Speeds = dict[Kind, Speed]


def speeds(store: Store) -> Speeds:
    """The median speed of the newest stored batches of each kind of run."""
    found: dict[Kind, list[tuple[str, float]]] = {}
    single = {}
    for run in store.runs():
        config = run.config()
        single[_kind(config)] = config.get("compares") == "single" and config["match"] == "prompts"
        for batch in run.manifest().get("batches", []):
            if "cpu" in batch.get("device", "cpu"):
                seconds = batch["seconds"] * _threads(batch) / _size(config, len(batch["seeds"]), single[_kind(config)])
                found.setdefault(_kind(config), []).append((batch.get("finished", ""), seconds))
    newest = {kind: median(value for _, value in sorted(values)[-NEWEST:]) for kind, values in found.items()}
    return {kind: Speed(seconds, single[kind]) for kind, seconds in newest.items()}


def of_seeds(config: dict[str, Any], seeds: int, known: Speeds) -> float | None:
    """Seconds of one thread for so many seeds of a configuration; None where no like run is `known`.

    Time is taken to grow with seeds, steps, tokens, the width of the model and gradient epochs.
    """
    if not seeds:
        return 0.0
    ours = _kind(config)
    if (speed := known.get(ours)) is not None:
        return speed.of(config, seeds)
    alike = [speed.of(config, seeds) for kind, speed in known.items() if kind[0] == ours[0] and kind[2:] == ours[2:]]
    return median(alike) if alike else None


def seconds(rows: list[Row], known: Speeds) -> float | None:
    """Seconds of the seeds that `rows` lack; None where a row has no like among the `known`."""
    each = [of_seeds(row.config, max(0, len(row.only or ()) - row.seeds), known) for row in rows]
    return None if None in each else sum(each)


def _kind(config: dict[str, Any]) -> Kind:
    own_epochs = config["train"]["epochs"] is None
    return config["env"]["task"], config["algo"]["objective"], config["sampler"], config["match"], own_epochs


def _size(config: dict[str, Any], seeds: int, single: bool) -> float:
    env, train, candidates = config["env"], config["train"], 1 if single else config["env"].get("candidates", 1)
    tokens = env.get("batch", 1) * env.get("horizon", 1) * candidates
    width = config["model"].get("d_model", 1)
    return seeds * train["steps"] * tokens * width * (train["epochs"] or 1)


def _threads(batch: dict[str, Any]) -> int:
    """Threads that a batch ran with, from a device such as "cpu (2 threads)"."""
    digits = "".join(filter(str.isdigit, batch.get("device", "")))
    return int(digits) if digits else 1
