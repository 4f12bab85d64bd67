"""The pictures of a suite: methods by tasks, performance profiles, and the end of training against its speed."""

import numpy as np
import pandas as pd

from analysis import aggregate, style
from analysis.leaderboard import by_task
from analysis.suite_cells import Cell
from analysis.suites import Suite

NAMED = 4  # the best methods, which a picture tells apart beside those of the paper
OF_PAPER = ("TPO", "GRPO", "DG", "PPO")
MARKERS = "osD^vPX*"


def heat_map(found: list[Cell], lines: pd.DataFrame, suite: Suite, track: str) -> style.Figure:
    """Mean late score of every method (rows, the best on top) on every task (columns)."""
    order = lines[lines.track == track].method.tolist()
    scores = by_task(found, track).reindex(index=order, columns=[task.name for task in suite.tasks])
    figure, (axis,) = style.panels(1, style.COLUMN * 1.6, 1.7 + 0.17 * len(order))
    image = axis.imshow(scores, vmin=0, vmax=1, cmap="cividis", aspect="auto")
    for (row, column), score in np.ndenumerate(scores.to_numpy()):
        text = "" if np.isnan(score) else f"{score:.1f}".replace("-0.0", "0.0")
        axis.text(column, row, text, ha="center", va="center", fontsize=6, color="white" if score < 0.6 else "black")
    axis.set_xticks(range(len(suite.tasks)), scores.columns, rotation=40, ha="right", fontsize=7)
    axis.set_yticks(range(len(order)), order, fontsize=7)
    axis.grid(visible=False)
    axis.set_title(f"{track.capitalize()} track, {suite.protocol.seeds} seeds: 0 chance, 1 best known")
    figure.colorbar(image, ax=axis, label="late score")
    return figure


def profiles(found: list[Cell], lines: pd.DataFrame, suite: Suite, track: str) -> style.Figure:
    """Share of the seeds of all tasks whose late score reaches a threshold, with a 95 % band."""
    figure, (axis,) = style.panels(1, style.COLUMN, 3.4)
    thresholds = np.linspace(0, 1, 101)
    for method in _named(lines, track):
        ours = [cell for cell in found if (cell.method, cell.track) == (method, track)]
        share, low, high = aggregate.performance_profile([cell.late() for cell in ours], thresholds)
        look = ours[0].row.style
        axis.plot(thresholds, share, **look)
        axis.fill_between(thresholds, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axis.set(xlabel="late score of at least", ylabel="share of seeds, mean over tasks", ylim=(0, 1.02))
    axis.set_title(f"Performance profiles, {track} track, {suite.protocol.seeds} seeds")
    axis.legend(loc="lower left")
    return figure


def speed(lines: pd.DataFrame, suite: Suite, colors: dict[str, str], track: str) -> style.Figure:
    """Late score (where it ends) against area score (how soon it gets there) of each complete method."""
    chosen = lines[(lines.track == track) & lines.complete]
    figure, (axis,) = style.panels(1, style.COLUMN, 3.8)
    markers = dict(zip(_named(lines, track), MARKERS, strict=False))
    others = chosen[~chosen.method.isin(markers)]
    for line in chosen.itertuples():
        look = {"color": colors[line.method], "zorder": 3} if line.method in markers else {"color": "0.6"}
        axis.plot([line.area] * 2, [line.low, line.high], linewidth=0.8, alpha=0.5, **look)
        if line.method in markers:
            axis.plot(line.area, line.late, markers[line.method], markersize=5, label=line.method, **look)
    axis.plot(others.area, others.late, ".", markersize=5, color="0.6", label="others" if len(others) else None)
    figure.legend(loc="outside lower center", ncols=2)
    axis.set(xlabel="area score, IQM (speed)", ylabel="late score, IQM, 95 %")
    axis.set_title(f"End against speed, {track} track, {suite.protocol.seeds} seeds")
    return figure


def pictures(found: list[Cell], lines: pd.DataFrame, suite: Suite) -> dict[str, style.Figure]:
    """{name: figure} of every track that has a complete method."""
    made = {}
    colors = {cell.method: cell.row.style["color"] for cell in found}
    for track in lines[lines.complete].track.unique():
        made[f"{track}_tasks"] = heat_map(found, lines, suite, track)
        made[f"{track}_profiles"] = profiles(found, lines, suite, track)
        made[f"{track}_speed"] = speed(lines, suite, colors, track)
    return made


def _named(lines: pd.DataFrame, track: str) -> list[str]:
    """The best complete methods of a track and those of the paper, the best first."""
    chosen = lines[(lines.track == track) & lines.complete]
    return chosen[(chosen["rank"] <= NAMED) | chosen.method.isin(OF_PAPER)].method.tolist()
