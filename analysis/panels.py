"""Small multiples: curves of many configurations, one panel per setting or metric, under one legend."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis import curves, stats, style
from analysis.labels import with_unique_labels
from analysis.load import Row
from analysis.tables import GOAL

Config = dict[str, Any]
Place = tuple[str, str]  # titles of the row and column of a panel
LEGEND_LINES = 4  # of a legend below the panels
FIRST_EPISODE = 5  # of a logarithmic axis of episodes
FLOOR = 1e-3  # a rollout batch does not resolve smaller errors
ROUNDING = 1e-6  # 1 - pi in float32 does not resolve smaller errors


@dataclass(frozen=True)
class Panel:
    """A panel of one metric, for rows that `shows` accepts. With `bottom`, its axis is logarithmic and ends there."""

    title: str
    metric: str
    ylabel: str
    bottom: float | None = None
    xlabel: str = "episode"
    shows: Callable[[Config], bool] = lambda config: True


@dataclass(frozen=True)
class Setting:
    """A panel whose horizontal axis is a setting such as "env.candidates", with the rows that `shows` accepts."""

    key: str
    xlabel: str
    title: str = ""
    shows: Callable[[Config], bool] = lambda config: True
    log: bool = False  # an error axis that is logarithmic down to ROUNDING, not linear below 1 %

    def value_in(self, config: Config) -> float:
        section, key = self.key.split(".")
        return config[section][key]


def belongs(row: Row, panel: Any) -> bool:
    """Whether a panel shows a row: it accepts the config, and its metric was recorded."""
    return panel.shows(row.config) and row.has(panel.metric)


def metric_panels(rows: list[Row], panels: tuple[Panel, ...], title: str) -> tuple[style.Figure, pd.DataFrame]:
    """A row of panels of recorded metrics, each with its own axes. A panel without any run is left out."""
    panels = tuple(panel for panel in panels if any(belongs(row, panel) for row in rows))
    figure, axes = style.panels(len(panels), style.COLUMN if len(panels) == 1 else style.PANEL * 1.3)
    rows = with_unique_labels(
        rows, panels=[[panel.title for panel in panels if panel.shows(row.config)] for row in rows]
    )
    styles, drawn = curves.line_styles(rows), []
    for axis, panel in zip(axes, panels, strict=True):
        axis.set(title=panel.title, xlabel=panel.xlabel, ylabel=panel.ylabel)
        shown = [row for row in rows if belongs(row, panel)]
        for row in shown:
            data = curves.curve_data(row, panel.metric)
            curves.draw_band(axis, data, styles[row.label])
            drawn.append(data.assign(panel=panel.title))
        style.mark_if_empty(axis)
        if panel.bottom is not None:
            axis.set_yscale("log")
            axis.set_ylim(bottom=panel.bottom)
        if _differ_in_seeds(rows):
            _count_seeds(axis, shown)
    legend(figure, axes, list(styles))
    style.head(figure, title, curves.seeds_and_intervals(rows))
    return figure, pd.concat(drawn, ignore_index=True)


def final_errors(
    rows: list[Row], settings: tuple[Setting, ...], title: str, hide: tuple[str, ...] = ()
) -> tuple[style.Figure, pd.DataFrame]:
    """Final errors in % with 95 % bars: a panel for each setting, and a line for each label."""
    rows = with_unique_labels(
        rows, hide, [[(s.title, s.value_in(row.config)) for s in settings if s.shows(row.config)] for row in rows]
    )
    found = {setting: [row for row in rows if setting.shows(row.config)] for setting in settings}
    found = {setting: chosen for setting, chosen in found.items() if chosen}
    figure, axes = style.panels(len(found))
    styles, drawn = curves.line_styles(rows), []
    for axis, (setting, chosen) in zip(axes, found.items(), strict=True):
        data = pd.DataFrame([_final(row, setting.value_in(row.config)) for row in chosen])
        _final_panel(axis, data, setting, styles)
        drawn.append(data.assign(panel=setting.title))
    legend(figure, axes, list(styles))
    style.head(figure, title, curves.seeds_and_intervals(rows))
    return figure, pd.concat(drawn, ignore_index=True)


def _final_panel(axis, data: pd.DataFrame, setting: Setting, styles: dict[str, dict[str, Any]]) -> None:
    for name, line in data.sort_values("setting").groupby("label", sort=False):
        curves.draw_points(axis, line.setting, line, styles[name])
    ticks = sorted(data.setting.unique())
    # zero has no place on a logarithmic axis, so the stretch up to the next value is linear
    scale = {"value": "symlog", "linthresh": ticks[1], "linscale": 0.3} if 0 in ticks[:-1] else {"value": "log"}
    scale = {"value": "linear"} if ticks == [0] else scale
    axis.set_xscale(**scale)
    axis.set(title=setting.title, xlabel=setting.xlabel, ylabel="final error, %")
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axis.set_xticks([], minor=True)
    if setting.log:
        axis.set_yscale("log", nonpositive="clip")
        axis.set_ylim(max(100 * ROUNDING, data["mean"].min() / 2), 150)
    else:
        axis.set_yscale("symlog", linthresh=1)
        axis.set_ylim(0, 130)


def _final(row: Row, setting: float) -> dict[str, Any]:
    percent = 100 * row.errors()[1][-1]
    return {"label": row.label, "setting": setting, **stats.mean_with_interval(percent, (0, 100))}


def error_panels(
    rows: list[Row],
    places: Callable[[Config], list[Place]],
    title: str,
    hide: tuple[str, ...] = (),
    log_x: bool = False,
) -> tuple[style.Figure, pd.DataFrame]:
    """Draw the error of each row into the panels that `places` returns for its config.

    hide   settings that panel or caption show, so that labels leave them out (`analysis.labels.changed_settings`)
    log_x  a logarithmic axis of episodes, for tasks that are learnt in the first tenth of a run
    """
    where = [places(row.config) for row in rows]
    rows = with_unique_labels(rows, hide, where)
    row_titles = list(dict.fromkeys(place[0] for found in where for place in found))
    column_titles = sorted({place[1] for found in where for place in found}, key=_natural)
    figure, axes = style.small_multiples(len(row_titles), len(column_titles))
    styles = curves.line_styles(rows)
    drawn = []
    for row, found in zip(rows, where, strict=True):
        data = curves.curve_data(row, "error")
        for line, column in found:
            curves.draw_band(axes[row_titles.index(line), column_titles.index(column)], data, styles[row.label])
            drawn.append(data.assign(row=line, column=column))
    for axis in axes.flat:
        style.mark_if_empty(axis)
    _style_axes(axes, row_titles, column_titles)
    if log_x:
        axes[0, 0].set(xscale="log", xlim=(FIRST_EPISODE, None))
    for (line, column), axis in np.ndenumerate(axes if _differ_in_seeds(rows) else []):
        place = (row_titles[line], column_titles[column])
        _count_seeds(axis, [row for row, found in zip(rows, where, strict=True) if place in found])
    legend(figure, axes.flat, list(styles))
    style.head(figure, title, curves.seeds_and_intervals(rows))
    return figure, pd.concat(drawn, ignore_index=True)


def _differ_in_seeds(rows: list[Row]) -> bool:
    return len({row.seeds for row in rows}) > 1


def _count_seeds(axis, shown: list[Row]) -> None:
    """Write into a panel how many seeds its curves have."""
    if shown:
        axis.text(0.03, 0.04, curves.seeds_text(shown), transform=axis.transAxes, fontsize=6)  # errors begin at the top


def legend(figure: style.Figure, axes, order: list[str]) -> None:
    """One legend below all panels."""
    handles = [axis.get_legend_handles_labels() for axis in axes]
    unique = {name: line for lines, names in handles for line, name in zip(lines, names, strict=True)}
    shown = [name for name in order if name in unique]
    columns = curves.legend_columns(shown, figure)
    more = max(0, -(-len(shown) // columns) - LEGEND_LINES)  # lines that the panels have no room for
    figure.set_figheight(figure.get_figheight() + curves.LINE_HEIGHT * more)
    figure.legend([unique[n] for n in shown], shown, loc="outside lower center", ncols=columns)


def _style_axes(axes, row_titles: list[str], column_titles: list[str]) -> None:
    axes[0, 0].set(yscale="log", ylim=(FLOOR, 1.3))
    for axis in axes.flat:
        axis.axhline(GOAL, color="#888888", linewidth=0.7, zorder=0)
    for axis, text in zip(axes[0], column_titles, strict=True):
        axis.set_title(text)
    for axis, text in zip(axes[:, 0], row_titles, strict=True):
        axis.set_ylabel(f"{text}\nerror" if text else "error")
    for axis in axes[-1]:
        axis.set_xlabel("episode")


def _natural(text: str) -> list[tuple[int, str]]:
    """A sort key that puts "H = 7" before "H = 10"."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", text)]
