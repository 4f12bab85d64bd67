"""Study: every method on every task, with 1 and 4 epochs, at the default and at its best learning rate."""

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from analysis import curves, stats, style
from analysis.labels import label
from analysis.rivals import default_rate_rows, epochs, leaderboard_rows, learning_rate, tuned_rate_rows

SWEEPS = ("rivals_bandit", "rivals_digits", "rivals_mnist", "rivals_dense", "rivals_terminal")
READINGS = {"defaults": default_rate_rows, "tuned": tuned_rate_rows}
BOARDS = {
    f"{name}_{count}": lambda rows, read=read, count=count: leaderboard_rows(read(rows), count)
    for name, read in READINGS.items()
    for count in (1, 4)
}
MARKERS = {1: "o", 4: "s"}
FLOOR = 1e-4  # an error below is as good as none


def draw(rows):
    drawn = pd.DataFrame([_cell(row, name) for name, read in READINGS.items() for row in read(rows)])
    colors = {label(row.config, hide=("train.epochs",)): row.style["color"] for row in rows}
    tasks = list(dict.fromkeys(drawn.task))
    means = drawn.pivot_table(index="method", columns="task", values="mean")
    # by place, since the errors of a method that has only some of the tasks cannot be compared
    order = means.rank(pct=True).mean(axis=1).sort_values(ascending=False).index
    figure, axes = style.plt.subplots(
        1, len(tasks), figsize=(2.6 + 1.5 * len(tasks), 1.4 + 0.26 * len(order)), squeeze=False, sharey=True
    )
    for axis, task in zip(axes[0], tasks, strict=True):
        of_task = drawn.assign(**drawn[["mean", "low", "high"]].clip(lower=FLOOR))[drawn.task == task]
        for cell in of_task.itertuples():
            place = list(order).index(cell.method) + (0.17 if cell.epochs == 1 else -0.17)
            fill = {"markerfacecolor": colors[cell.method] if cell.reading == "tuned" else "white"}
            axis.plot(
                cell.mean, place, MARKERS.get(cell.epochs, "D"), color=colors[cell.method], markersize=3.5, **fill
            )
            if cell.reading == "tuned" and np.isfinite(cell.low):
                axis.plot([cell.low, cell.high], [place, place], color=colors[cell.method], linewidth=1)
        axis.set(title=task, xlabel="late error", xscale="log", xlim=(FLOOR / 1.3, 1.3))
    axes[0][0].set_yticks(range(len(order)), order)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=2)
    title = f"Mean error over the last tenth of training\n{curves.seeds_text(rows)}, errors below {FLOOR:g} drawn there"
    figure.suptitle(title, fontsize=9)
    return figure, drawn


def _cell(row, reading):
    errors = row.late_errors()
    env = row.config["env"]
    task = f"{env['label']}, H {env['horizon']}" if "horizon" in env else env["label"]
    name = label(row.config, hide=("train.epochs",))
    return {
        "method": name,
        "task": task,
        "epochs": epochs(row),
        "reading": reading,
        "lr": learning_rate(row),
        **stats.mean_with_interval(errors, stats.ERRORS),
    }


def _legend():
    looks = [("o", "black"), ("s", "black"), ("o", "white"), ("s", "white")]
    texts = ["1 epoch, best rate of 3 (95 %)", "4 epochs, best rate", "1 epoch, default rate", "4 epochs, default rate"]
    return [
        Line2D([], [], linestyle="", marker=marker, color="black", markersize=4, label=text, markerfacecolor=fill)
        for (marker, fill), text in zip(looks, texts, strict=True)
    ]
