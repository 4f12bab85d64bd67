"""Figure 10: norm of the first-epoch gradient, and the pull on successful and failed answers."""

from analysis.panels import Panel, metric_panels

PANELS = (
    Panel("gradient norm", "grad_norm", "norm, first epoch", bottom=1e-4),
    Panel("weight on successes", "weight_success", "mean weight on a token"),
    Panel("weight on failures", "weight_failure", "mean weight on a token"),
)


def draw(rows):
    return metric_panels(rows, PANELS, "Terminal reversal: what an update pulls at")
