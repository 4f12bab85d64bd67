"""Two readings of a grid over learning rates and epochs: the task's default rate, and the best rate of each method."""

from dataclasses import replace
from functools import cache

from omegaconf import OmegaConf

from analysis.labels import ALGOS, label
from analysis.load import Row
from store.identity import identity_without

OPTIMS = ALGOS.parent / "optim"


def epochs(row: Row) -> int:
    return row.config["train"]["epochs"]


def learning_rate(row: Row) -> float:
    return row.config["optim"]["lr"]


def default_rate_rows(rows: list[Row]) -> list[Row]:
    """The rows with the learning rate of conf/optim."""
    return [row for row in rows if learning_rate(row) == _default_rate(row.config["optim"]["name"])]


def tuned_rate_rows(rows: list[Row]) -> list[Row]:
    """For each method, number of epochs and task, the row of the learning rate with the lowest mean late error.

    A method that ran at one learning rate only was not tuned, and has no row. The rate is chosen by the same seeds that
    are shown, so the error is a little too low.
    """
    alike: dict[str, list[Row]] = {}
    for row in rows:
        alike.setdefault(identity_without(row.config, "optim.lr"), []).append(row)
    return [min(found, key=lambda row: row.late_errors().mean()) for found in alike.values() if len(found) > 1]


def leaderboard_rows(rows: list[Row], count: int) -> list[Row]:
    """The rows with `count` epochs, without learning rate and epochs in the name of task and method."""
    kept = [row for row in rows if epochs(row) == count]
    configs = [row.config | {"train": row.config["train"] | {"epochs": None}} for row in kept]
    configs = [config | {"optim": config["optim"] | {"lr": None}} for config in configs]
    return [replace(row, config=config, label=label(config)) for row, config in zip(kept, configs, strict=True)]


@cache
def _default_rate(optim: str) -> float:
    return OmegaConf.load(OPTIMS / f"{optim}.yaml").lr
