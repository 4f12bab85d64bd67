"""Study: TPO with summed and with averaged log-probs, by the length of the answer."""

from analysis.panels import error_panels


def draw(rows):
    return error_panels(rows, lambda config: [("", f"H = {config['env']['horizon']}")], "Dense reversal, whole answers")
