"""Study: final error by width of the transformer."""

from analysis.panels import Setting, final_errors

SETTINGS = (Setting("model.d_model", "d_model"),)


def draw(rows):
    return final_errors(rows, SETTINGS, "Terminal reversal, V = 2")
