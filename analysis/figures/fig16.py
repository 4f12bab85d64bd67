"""Figure 16: TPO_token by temperature eta of its target, dense reward."""

from analysis.panels import error_panels


def draw(rows):
    return error_panels(rows, lambda config: [("", f"H = {config['env']['horizon']}")], "Dense reversal", ("sampler",))
