"""Learning curves: mean over seeds with a 95 % band."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import stats, style
from analysis.labels import with_unique_labels
from analysis.load import Row

POINTS = 200  # more than a column can show
LABEL_WIDTH = 30  # characters of a label on one line
TITLE_WIDTH = 44  # characters of a title over one panel
LEGEND_LINES, LEGEND_LETTERS = 8, 16  # the most lines, and letters of a line, of a legend among the curves
LINE_HEIGHT = 0.17  # inches of each line of a legend below the panels
LABELS = {"error": "error", "misalignment": "misalignment, 1 - cos"}


def curve_data(row: Row, metric: str) -> pd.DataFrame:
    """Columns label, metric, step, mean, low, high and n (seeds) at up to POINTS steps of a run.

    A seed that turned non-finite has error 1. Other metrics leave it out.
    """
    steps, values = row.errors() if metric == "error" else row.finite(metric)
    keep = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), POINTS)).round().astype(int))
    steps, values = steps[keep], values[keep]
    low, high = stats.interval(values, stats.bounds(metric))
    mean = values.mean(-1) if values.shape[-1] else np.full(len(steps), np.nan)
    columns = {"step": steps, "mean": mean, "low": low, "high": high, "n": values.shape[-1]}
    return pd.DataFrame({"label": row.label, "metric": metric, **columns})


def line_styles(rows: list[Row]) -> dict[str, dict[str, Any]]:
    """{label: line style}. It is the algorithm's own; where a few labels share it, they get other dashes.

    Where a method has more than three labels, they get shades of its colour, and dashes in turn.
    """
    found: dict[str, dict[str, Any]] = {}
    own, methods = {row.label: row.style for row in rows}, {row.label: row.config["algo"]["name"] for row in rows}
    for name, line in own.items():
        alike = [other for other in own if methods[other] == methods[name]]
        if len(alike) > 3:
            place = alike.index(name)
            shade = style.shade(line["color"], place / (len(alike) - 1))
            found[name] = line | {"color": shade, "linestyle": style.DASHES[place % len(style.DASHES)]}
            continue
        taken = {other["linestyle"] for other in found.values() if other["color"] == line["color"]}
        free = [dashes for dashes in (line["linestyle"], *style.DASHES) if dashes not in taken]
        found[name] = line | {"linestyle": (free or [line["linestyle"]])[0]}
    return found


def draw_points(axis, x: pd.Series, data: pd.DataFrame, line_style: dict[str, Any]) -> None:
    """Draw the mean of each line of `data` at x, with a bar from low to high where there is an interval."""
    axis.plot(x, data["mean"], marker="o", markersize=3, **line_style)
    known = data[["low", "high"]].notna().all(axis=1)
    bars = abs(data[["low", "high"]].sub(data["mean"], axis=0))[known].to_numpy().T
    axis.errorbar(x[known], data["mean"][known], bars, fmt="none", capsize=2, ecolor=line_style["color"])


def draw_curve(
    axis, row: Row, metric: str, line_style: dict[str, Any], log_y: bool = False, band: bool = True
) -> pd.DataFrame:
    """Draw the curve of one run, and return its data."""
    data = curve_data(row, metric)
    draw_band(axis, data, line_style, band)
    axis.set(xlabel="step", ylabel=LABELS.get(metric, metric))
    if log_y and (data["mean"] > 0).any():
        axis.set_yscale("log")
    return data


def draw_band(axis, data: pd.DataFrame, line_style: dict[str, Any], band: bool = True) -> None:
    """Draw the mean and its band."""
    axis.plot(data.step, data["mean"], **line_style)
    if band:
        axis.fill_between(data.step, data.low, data.high, color=line_style["color"], alpha=0.2, linewidth=0)


def draw_legend(figure: style.Figure, axis) -> None:
    """Name the curves of an axis: among them, or below all panels of a higher figure where names are many or long."""
    handles, names = axis.get_legend_handles_labels()
    lines = "\n".join(names).count("\n") + 1
    if lines <= LEGEND_LINES and max(map(len, "\n".join(names).splitlines()), default=0) <= LEGEND_LETTERS:
        axis.legend()
        return
    columns = legend_columns(names, figure)
    figure.set_figheight(figure.get_figheight() + LINE_HEIGHT * lines / columns)
    figure.legend(handles, names, loc="outside lower center", ncols=columns)


def legend_columns(names: list[str], figure: style.Figure) -> int:
    """The number of columns that fit. At 8 points a letter is about 0.065 inches wide, line and gaps half an inch."""
    longest = max(len(line) for name in names for line in name.splitlines())
    return max(1, min(len(names), int(figure.get_figwidth() / (0.065 * longest + 0.55))))


def seeds_and_intervals(rows: list[Row]) -> str:
    """The end of a title: the number of seeds, and what bands and bars are, if any row has enough seeds for them."""
    has_intervals = any(row.seeds >= stats.FEWEST for row in rows)
    return seeds_text(rows) + ", 95 % intervals" * has_intervals


def seeds_text(rows: list[Row]) -> str:
    """The number of seeds of the rows, and of those that turned non-finite, as text for a title."""
    counts = sorted({row.seeds for row in rows})
    lost = sum(row.non_finite() for row in rows)
    note = f", {lost} of {sum(row.seeds for row in rows)} non-finite" if lost else ""
    if len(counts) == 1:
        return f"n = {counts[0]} seed{'s' if counts[0] > 1 else ''}{note}"
    return f"n = {counts[0]} to {counts[-1]} seeds{note}"


def save_error_figure(rows: list[Row], stem: Path) -> Path:
    """One panel of error curves, as a PNG; without bands where many would cover each other."""
    texts = [textwrap.fill(row.label, LABEL_WIDTH) for row in rows]
    many = len(rows) > LEGEND_LINES
    figure, (axis,) = style.panels(1, style.COLUMN * (2 if many else 1))
    styles = line_styles(rows)
    for row, text in zip(rows, texts, strict=True):
        draw_curve(axis, row, "error", styles[row.label] | {"label": text}, log_y=True, band=not many)
    seeds = seeds_text(rows) if many else seeds_and_intervals(rows)
    axis.set_title(textwrap.fill(f"{rows[0].config['env']['label']}, {seeds}", TITLE_WIDTH))
    draw_legend(figure, axis)
    return style.save(figure, stem, ("png",))[0]


def error_and_misalignment(rows: list[Row], title: str) -> tuple[style.Figure, pd.DataFrame]:
    """Error on the left, misalignment on the right, both on log axes, for the bandits."""
    figure, (left, right) = style.panels(2)
    rows = with_unique_labels(rows)
    styles = line_styles(rows)
    drawn = [draw_curve(left, row, "error", styles[row.label], log_y=True) for row in rows]
    drawn += [draw_curve(right, row, "misalignment", styles[row.label], log_y=True) for row in rows]
    right.set_ylim(bottom=1e-6)  # below it a float32 cosine is rounding noise
    draw_legend(figure, left)
    figure.suptitle(f"{title}, {seeds_and_intervals(rows)}", fontsize=9)
    return figure, pd.concat(drawn)
