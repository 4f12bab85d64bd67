"""Figure 11: share of groups without a success, and of prompts with one."""

from analysis.panels import Panel, metric_panels

SWEEPS = ("fig10",)
PANELS = (
    Panel("all-fail groups", "all_fail_share", "share of groups"),
    Panel("prompts with a success", "success_share", "share of prompts"),
)


def draw(rows):
    return metric_panels(rows, PANELS, "Terminal reversal: where there is a signal")
