"""Figure 16: TPO_token by temperature eta of its target, dense reward."""

from analysis.panels import error_panels


def draw(rows):
    return error_panels(rows, _places, "Dense reversal", ("sampler",), log_x=True)


def _places(config):
    return [("", f"H = {config['env']['horizon']}")]
