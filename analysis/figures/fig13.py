"""Figure 13: GRPO with and without the groups of zero variance, and TPO."""

from analysis.panels import FLOOR, Panel, metric_panels


def draw(rows):
    return metric_panels(rows, (Panel("masking", "error", "error", bottom=FLOOR),), "Terminal reversal, V = 2")
