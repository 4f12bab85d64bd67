"""Figure 14: error of TPO with four epochs and with one, and of its rivals."""

from analysis.panels import FLOOR, Panel, metric_panels

SWEEPS = ("fig10", "fig14")


def draw(rows):
    return metric_panels(rows, (Panel("epochs", "error", "error", bottom=FLOOR),), "Terminal reversal, V = 2")
