"""Figure 5: dense reward, one panel per vocabulary; TPO and GRPO compare token candidates."""

from analysis.panels import error_panels

SWEEPS = ("fig05", "fig05_single")


def draw(rows):
    return error_panels(rows, _places, "Dense reversal, bag of tokens", log_x=True)


def _places(config):
    return [("", f"V = {config['env']['vocab']}")]
