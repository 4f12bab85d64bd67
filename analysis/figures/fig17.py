"""Figure 17: DG with one and with four epochs, terminal reward and dense variants."""

from analysis.panels import error_panels

SWEEPS = ("fig17", "fig17_dense")


def draw(rows):
    return error_panels(rows, _places, "DG by epochs, V = 2")


def _places(config):
    reward, target = (config["env"][key].replace("_", " ") for key in ("reward", "target"))
    return [(reward, target)]
