"""Figure 1: MNIST contextual bandit, and terminal reward at horizon 10."""

from analysis.panels import FLOOR, Panel, metric_panels

SWEEPS = ("fig04", "fig01b")
PANELS = (
    Panel("(a) MNIST", "error", "test error", bottom=0.02, xlabel="step", shows=lambda c: c["env"]["name"] == "mnist"),
    Panel("(b) terminal reversal", "error", "error", bottom=FLOOR, shows=lambda c: c["env"]["name"] != "mnist"),
)


def draw(rows):
    return metric_panels(rows, PANELS, "Dense and sparse reward")
