"""Figure 1 (b): terminal reward at horizon 10, error of the rollouts."""

from analysis.panels import error_panels


def draw(rows):
    return error_panels(rows, lambda config: [("", f"H = {config['env']['horizon']}")], "Terminal reversal, V = 2")
