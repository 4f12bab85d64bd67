"""Figure 7: terminal reward by horizon, prompt-matched and interaction-matched."""

from analysis.labels import MATCHINGS, matchings
from analysis.panels import error_panels

SWEEPS = ("fig07", "fig07_interactions")


def draw(rows):
    return error_panels(rows, _places, "Terminal reversal, V = 2", hide=("match",))


def _places(config):
    return [(MATCHINGS[match], f"H = {config['env']['horizon']}") for match in matchings(config)]
