"""Heat maps over the learning rate: a panel per algorithm, a line per task."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from analysis import curves, stats, style
from analysis.labels import with_unique_labels
from analysis.load import Row

SOLVED = 0.1  # a task counts as solved below this mean error
Level = tuple[Any, str]  # sort key and name of a line of a panel


def learning_rate_maps(
    rows: list[Row], level: Callable[[dict], Level], title: str
) -> tuple[style.Figure, pd.DataFrame]:
    """Maps of the error by learning rate and `level`, with the number of learning rates that solve each task."""
    rows = with_unique_labels(rows, panels=[[(level(row.config), row.config["optim"]["lr"])] for row in rows])
    drawn = pd.DataFrame([_cell(row, level(row.config)) for row in rows])
    levels = drawn.sort_values("order").level.unique()
    labels = drawn.label.unique()
    figure, axes = style.small_multiples(1, len(labels), max(1.2, 0.2 * len(levels)))
    for axis, name in zip(axes[0], labels, strict=True):
        wide = drawn[drawn.label == name].pivot(index="level", columns="lr", values="mean").reindex(levels)
        mesh = axis.pcolormesh(_edges(wide.columns), np.arange(len(levels) + 1), wide, cmap="viridis_r", vmin=0, vmax=1)
        y, x = np.nonzero(wide.to_numpy() < SOLVED)
        axis.plot(wide.columns[x], y + 0.5, ".", color="black", markersize=3)
        axis.set(title=name, xlabel="learning rate", xscale="log", ylim=(len(levels), 0))
        axis.set_yticks(np.arange(len(levels)) + 0.5, levels)
        axis.grid(False)
        shares = axis.secondary_yaxis("right")
        found = [f"{(wide.loc[one] < SOLVED).sum()}/{wide.loc[one].notna().sum()}" for one in levels]
        shares.set_yticks(np.arange(len(levels)) + 0.5, found)
        shares.tick_params(length=0)
    figure.colorbar(mesh, ax=axes, label="error, end of training", aspect=12)
    figure.suptitle(
        f"{title}, {curves.seeds_text(rows)}; dots: error below {SOLVED:g}, counted on the right", fontsize=9
    )
    return figure, drawn.drop(columns="order")


def _cell(row: Row, level: Level) -> dict[str, Any]:
    errors = row.late_errors()
    place = {"label": row.label, "order": level[0], "level": level[1], "lr": row.config["optim"]["lr"]}
    return place | stats.mean_with_interval(errors, stats.ERRORS) | {"solved": errors.mean() < SOLVED}


def _edges(values: pd.Index) -> np.ndarray:
    """Cell borders at the geometric mean of neighbouring values; a single value gets half a decade to each side."""
    logs = np.log10(values.to_numpy(float))
    half = np.diff(logs) / 2 if len(logs) > 1 else np.array([0.5])
    return 10 ** np.concatenate([logs[:1] - half[:1], logs[:-1] + half[: len(logs) - 1], logs[-1:] + half[-1:]])
