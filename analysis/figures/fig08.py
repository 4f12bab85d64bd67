"""Figure 8: ablations of TPO on the terminal reward, one panel per horizon."""

from analysis.panels import error_panels


def draw(rows):
    return error_panels(rows, lambda config: [("", f"H = {config['env']['horizon']}")], "Terminal reversal, V = 2")
