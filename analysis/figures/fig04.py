"""Figure 4: MNIST, test error and what one update does on misclassified images."""

import numpy as np
import pandas as pd

from analysis import curves, stats, style
from analysis.labels import with_unique_labels

STEP = 2000
BINS = ("0 to .25", ".25 to .5", ".5 to .75", ".75 to 1")


def draw(rows):
    figure, (left, right) = style.panels(2)
    rows = with_unique_labels(rows)
    styles = curves.line_styles(rows)
    drawn = [curves.draw_curve(left, row, "error", styles[row.label], log_y=True) for row in rows]
    left.set(title="(a) learning curves", ylabel="test error")
    bars = pd.DataFrame([line for row in rows if row.has("surplus_1") for line in _surplus(row)])
    without = ", ".join(row.label for row in rows if not row.has("surplus_1"))
    right.text(0.03, 0.97, f"not defined for {without}" if without else "", va="top", transform=right.transAxes)
    for i, row in enumerate(row for row in rows if row.has("surplus_1")):
        found = bars[bars.label == row.label]
        curves.draw_points(right, found.bin + 0.08 * i, found, styles[row.label])
    right.axhline(0, color="#888888", linewidth=0.7, zorder=0)
    right.set_xticks(range(1, len(BINS) + 1), BINS)
    right.set(title=f"(b) misclassified images, step {STEP}", xlabel="concentration of the wrong mass")
    right.set_ylabel("surplus gain in p(y)")
    curves.draw_legend(figure, left)
    figure.suptitle(f"MNIST contextual bandit, {curves.seeds_and_intervals(rows)}", fontsize=9)
    return figure, pd.concat([*drawn, bars], ignore_index=True)


def _surplus(row):
    """Mean surplus over the seeds that have misclassified images in a bin, at STEP or else the last step."""
    for number in range(1, len(BINS) + 1):
        steps, values = row.metric(f"surplus_{number}")
        at = min(np.searchsorted(steps, STEP), len(steps) - 1)
        found = values[at][np.isfinite(values[at])]
        place = {"label": row.label, "metric": "surplus", "step": steps[at], "bin": number}
        yield place | stats.mean_with_interval(found)
