"""Figure 9: language models, test accuracy where answers are right or wrong, training score on puzzles."""

import pandas as pd

from analysis import curves, style
from analysis.labels import with_unique_labels
from analysis.panels import legend

SCORED = ("graph_color", "knights_knaves")  # by the score of the completions that are learned from


def draw(rows):
    places = [_place(row.config) for row in rows]
    rows = with_unique_labels(rows, panels=[[place] for place in places])
    models, tasks = (list(dict.fromkeys(found)) for found in zip(*places, strict=True))
    figure, axes = style.small_multiples(len(models), len(tasks), height=1.9, sharex="col")
    styles, drawn = curves.line_styles(rows), []
    for row, (model, task) in zip(rows, places, strict=True):
        data = curves.curve_data(row, "reward" if row.config["env"]["name"] in SCORED else "test_accuracy")
        curves.draw_band(axes[models.index(model), tasks.index(task)], data, styles[row.label])
        drawn.append(data.assign(model=model, task=task))
    for axis, task in zip(axes[0], tasks, strict=True):
        axis.set(title=task, ylim=(-0.02, 1.02))
    for axis, model in zip(axes[:, 0], models, strict=True):
        axis.set_ylabel(f"{model}\nshare")
    for axis in axes[-1]:
        axis.set_xlabel("step")
    legend(figure, axes.flat, list(styles))
    style.head(figure, "Reinforcement learning from verifiable rewards", curves.seeds_and_intervals(rows))
    return figure, pd.concat(drawn, ignore_index=True)


def _place(config):
    model, env = config["model"], config["env"]
    name = (model.get("path") or "tiny Qwen3").split("/")[-1].removeprefix("DeepSeek-")
    return name, f"{env['label']}\n{'training score' if env['name'] in SCORED else 'test accuracy'}"
