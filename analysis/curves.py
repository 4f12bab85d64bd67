"""Learning curves: mean over seeds with a 95 % band."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import stats, style
from analysis.labels import told_apart
from analysis.load import Row

POINTS = 200  # more than a column can show
WIDTH = 36  # characters that a column shows beside each other
LINES = 8  # of a legend that has its place among the curves
HEIGHT, LINE = 2.6, 0.17  # inches of a panel, and of each line of a legend below it
LABELS = {"error": "error", "misalignment": "misalignment, 1 - cos"}


def curve(row: Row, metric: str) -> pd.DataFrame:
    """label, metric, step, mean, low, high and n (seeds) at up to 200 steps of a run."""
    steps, values = row.finite(metric)
    keep = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), POINTS)).round().astype(int))
    steps, values = steps[keep], values[keep]
    low, high = stats.interval(values)
    mean = values.mean(-1) if values.shape[-1] else np.full(len(steps), np.nan)
    columns = {"step": steps, "mean": mean, "low": low, "high": high, "n": values.shape[-1]}
    return pd.DataFrame({"label": row.label, "metric": metric, **columns})


def looks(rows: list[Row]) -> dict[str, dict[str, Any]]:
    """A look for each label: the algorithm's own, told apart by dashes where two or three share it, else by shades."""
    found: dict[str, dict[str, Any]] = {}
    styles = {row.label: row.style for row in rows}
    for name, look in styles.items():
        alike = [other for other in styles if styles[other]["color"] == look["color"]]
        if len(alike) > 3:
            shade = style.shade(look["color"], alike.index(name) / (len(alike) - 1))
            found[name] = look | {"color": shade}
            continue
        taken = {other["linestyle"] for other in found.values() if other["color"] == look["color"]}
        free = [dashes for dashes in (look["linestyle"], *style.DASHES) if dashes not in taken]
        found[name] = look | {"linestyle": (free or [look["linestyle"]])[0]}
    return found


def points(axis, x: pd.Series, data: pd.DataFrame, look: dict[str, Any]) -> None:
    """Draw the mean of each line of `data` at x, with a bar from low to high."""
    bars = abs(data[["low", "high"]].sub(data["mean"], axis=0)).fillna(0).to_numpy().T
    axis.errorbar(x, data["mean"], bars, marker="o", markersize=3, capsize=2, **look)


def draw(axis, row: Row, metric: str, look: dict[str, Any], log_y: bool = False) -> pd.DataFrame:
    """Draw one run's curve and return what was drawn."""
    data = curve(row, metric)
    plot(axis, data, look)
    axis.set(xlabel="step", ylabel=LABELS.get(metric, metric))
    if log_y and (data["mean"] > 0).any():
        axis.set_yscale("log")
    return data


def plot(axis, data: pd.DataFrame, look: dict[str, Any]) -> None:
    """A mean and its band."""
    axis.plot(data.step, data["mean"], **look)
    axis.fill_between(data.step, data.low, data.high, color=look["color"], alpha=0.2, linewidth=0)


def seeds_text(rows: list[Row]) -> str:
    """How many seeds the rows have, for a title."""
    counts = sorted({row.seeds for row in rows})
    return (
        f"n = {counts[0]} seed{'s' if counts[0] > 1 else ''}"
        if len(counts) == 1
        else f"n = {counts[0]} to {counts[-1]} seeds"
    )


def error_figure(rows: list[Row], stem: Path) -> Path:
    """One panel of error curves, as a PNG."""
    texts = [textwrap.fill(row.label, WIDTH) for row in rows]
    lines = "\n".join(texts).count("\n") + 1
    inside = lines <= LINES
    figure, (axis,) = style.panels(1, height=HEIGHT if inside else HEIGHT + LINE * lines)
    look = looks(rows)
    for row, text in zip(rows, texts, strict=True):
        draw(axis, row, "error", look[row.label] | {"label": text}, log_y=True)
    axis.set_title(textwrap.fill(f"{rows[0].config['env']['label']}, {seeds_text(rows)}", WIDTH))
    if inside:
        axis.legend()
    else:
        figure.legend(loc="outside lower center")
    return style.save(figure, stem, ("png",))[0]


def two_panels(rows: list[Row], title: str) -> tuple[style.Figure, pd.DataFrame]:
    """Error on the left, misalignment on the right, both on log axes, for the bandits."""
    figure, (left, right) = style.panels(2)
    rows = told_apart(rows)
    look = looks(rows)
    drawn = [draw(left, row, "error", look[row.label], log_y=True) for row in rows]
    drawn += [draw(right, row, "misalignment", look[row.label], log_y=True) for row in rows]
    right.set_ylim(bottom=1e-6)  # below it a float32 cosine is rounding noise
    left.legend()
    figure.suptitle(f"{title}, {seeds_text(rows)}", fontsize=9)
    return figure, pd.concat(drawn)
