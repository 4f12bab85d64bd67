"""Where each method ends: one line per method, in each panel its seeds, their mean, and a 95 % interval."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import style
from analysis.curves import curve_data, seeds_and_intervals
from analysis.labels import with_unique_labels
from analysis.load import Row
from analysis.panels import belongs
from analysis.rivals import epochs, learning_rate

LINE = 0.17  # inches per method
WIDEST = 4  # panels side by side


@dataclass(frozen=True)
class Dots:
    """A panel of the last value of one metric, for rows that `shows` accepts.

    percent  the metric is a share; its axis is in % and starts at 0
    """

    title: str
    metric: str
    xlabel: str
    percent: bool = False
    shows: Callable[[dict[str, Any]], bool] = lambda config: True


def default_values(
    rows: list[Row], panels: tuple[Dots, ...], title: str, rate: float
) -> tuple[style.Figure, pd.DataFrame]:
    """`last_values` at one learning rate, with one gradient step per rollout; of all rows where none is such a row."""
    shown = [row for row in rows if learning_rate(row) == rate and epochs(row) == 1]
    if not shown:
        return last_values(rows, panels, title)
    return last_values(shown, panels, f"{title}, one epoch, learning rate {rate:g}", hide=("train.epochs",))


def last_values(
    rows: list[Row], panels: tuple[Dots, ...], title: str, hide: tuple[str, ...] = ()
) -> tuple[style.Figure, pd.DataFrame]:
    """Seeds after training, small, and their mean with its 95 % interval; a grey line is the mean before training.

    Methods are sorted by the first panel that has them. A panel without any run is left out.

    hide  settings that the title says, so that labels leave them out (`analysis.labels.changed_settings`)
    """
    panels = tuple(panel for panel in panels if any(belongs(row, panel) for row in rows))
    rows = with_unique_labels(rows, hide, [[panel.title for panel in panels if belongs(row, panel)] for row in rows])
    data = {panel: pd.DataFrame([_last(row, panel) for row in rows if belongs(row, panel)]) for panel in panels}
    names = [name for panel in panels for name in data[panel].sort_values("mean", ascending=False).label]
    places = {name: -place for place, name in enumerate(dict.fromkeys(names))}
    colors = {row.label: row.style["color"] for row in rows}
    columns = len(panels) if len(panels) <= WIDEST else 3
    down = -(-len(panels) // columns)
    figure, axes = style.small_multiples(down, columns, 0.5 + LINE * len(places), sharex="none")
    for axis, panel in zip(axes.flat, panels, strict=False):
        for row in rows:
            if belongs(row, panel):
                ends = _unit(panel) * row.finite(panel.metric)[1][-1]
                axis.plot(ends, [places[row.label]] * len(ends), ".", color=colors[row.label], alpha=0.35, markersize=4)
        _draw(axis, panel, data[panel], places, colors)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    style.head(figure, title, f"{seeds_and_intervals(rows)}; small: each seed; grey: before training")
    return figure, pd.concat([data[panel].assign(panel=panel.title) for panel in panels], ignore_index=True)


def _draw(axis, panel: Dots, data: pd.DataFrame, places: dict[str, int], colors: dict[str, str]) -> None:
    axis.axvline(data.before.mean(), color="#999999", linewidth=1, zorder=0)
    for line in data.itertuples():
        axis.plot([line.low, line.high], [places[line.label]] * 2, color=colors[line.label], linewidth=2)
        axis.plot(line.mean, places[line.label], "o", color=colors[line.label], markersize=4)
    axis.set(title=panel.title, xlabel=panel.xlabel, ylim=(min(places.values()) - 0.6, 0.6))
    if panel.percent:
        right = axis.get_xlim()[1]
        axis.set_xlim(-0.04 * right, 1.04 * right)
    axis.set_yticks(list(places.values()), list(places))
    axis.tick_params(axis="y", labelsize=7, length=0)


def _last(row: Row, panel: Dots) -> dict[str, Any]:
    data = curve_data(row, panel.metric)
    data[["mean", "low", "high"]] *= _unit(panel)
    return data.iloc[-1].to_dict() | {"before": data["mean"].iloc[0]}


def _unit(panel: Dots) -> int:
    return 100 if panel.percent else 1
