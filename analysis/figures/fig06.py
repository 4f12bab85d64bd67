"""Figure 6: task variations, targets by rewards, prompt-matched and interaction-matched."""

from analysis.labels import MATCHINGS, matchings
from analysis.panels import error_panels

SWEEPS = ("fig06", "fig06_single", "fig06_interactions")


def draw(rows):
    return error_panels(rows, _places, "Task variations, V = 2", hide=("match",))


def _places(config):
    reward, target = (config["env"][key].replace("_", " ") for key in ("reward", "target"))
    return [(f"{reward},\n{MATCHINGS[match]}", target) for match in matchings(config)]
