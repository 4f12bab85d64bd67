"""Small multiples: error curves of many configurations, one panel per setting, under one legend."""

import re
from collections.abc import Callable
from typing import Any

import pandas as pd

from analysis import curves, style
from analysis.labels import label
from analysis.load import Row

Config = dict[str, Any]
Place = tuple[str, str]  # titles of a panel's row and column
GOAL = 0.01  # the tables' threshold, as a line
FLOOR = 1e-3  # a rollout batch resolves little below


def error_panels(
    rows: list[Row], places: Callable[[Config], list[Place]], title: str, hide: tuple[str, ...] = ()
) -> tuple[style.Figure, pd.DataFrame]:
    """Draw each row's error into the panels that `places` names for its config.

    `hide`: settings that the panel or the caption says, so that labels need not (see analysis.labels.changed).
    """
    found = [(row, label(row.config, hide), places(row.config)) for row in rows]
    across = list(dict.fromkeys(place[0] for _, _, where in found for place in where))
    down = sorted({place[1] for _, _, where in found for place in where}, key=_natural)
    figure, axes = style.small_multiples(len(across), len(down))
    looks = _looks([(name, row) for row, name, _ in found])
    drawn = []
    for row, name, where in found:
        data = curves.curve(row, "error").assign(label=name)
        for line, column in where:
            curves.plot(axes[across.index(line), down.index(column)], data, looks[name])
            drawn.append(data.assign(row=line, column=column))
    _dress(axes, across, down)
    handles = [axis.get_legend_handles_labels() for axis in axes.flat]
    unique = {name: line for lines, names in handles for line, name in zip(lines, names, strict=True)}
    shown = [name for name in looks if name in unique]
    figure.legend([unique[n] for n in shown], shown, loc="outside lower center", ncols=_legend_columns(shown, figure))
    figure.suptitle(f"{title}\n{curves.seeds_text(rows)}", fontsize=9)
    return figure, pd.concat(drawn, ignore_index=True)


def _dress(axes, across: list[str], down: list[str]) -> None:
    axes[0, 0].set(yscale="log", ylim=(FLOOR, 1.3))
    for axis in axes.flat:
        axis.axhline(GOAL, color="#888888", linewidth=0.7, zorder=0)
    for axis, text in zip(axes[0], down, strict=True):
        axis.set_title(text)
    for axis, text in zip(axes[:, 0], across, strict=True):
        axis.set_ylabel(f"{text}\nerror" if text else "error")
    for axis in axes[-1]:
        axis.set_xlabel("episode")


def _looks(named: list[tuple[str, Row]]) -> dict[str, dict[str, Any]]:
    """A look for each label: the algorithm's own, with other dashes where a label before it has the same."""
    looks: dict[str, dict[str, Any]] = {}
    for name, row in named:
        if name in looks:
            continue
        look = row.style | {"label": name}
        taken = {other["linestyle"] for other in looks.values() if other["color"] == look["color"]}
        free = [dashes for dashes in (look["linestyle"], *style.DASHES) if dashes not in taken]
        looks[name] = look | {"linestyle": (free or [look["linestyle"]])[0]}
    return looks


def _legend_columns(names: list[str], figure: style.Figure) -> int:
    """As many as fit: at 8 points a letter is about 0.065 inches wide, and line and gaps take half an inch."""
    return max(1, min(len(names), int(figure.get_figwidth() / (0.065 * max(map(len, names)) + 0.55))))


def _natural(text: str) -> list[tuple[int, str]]:
    """Sorts "H = 7" before "H = 10"."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", text)]
