"""Study: final error by attention heads of the transformer."""

from analysis.panels import Setting, final_errors

SETTINGS = (Setting("model.heads", "attention heads"),)


def draw(rows):
    return final_errors(rows, SETTINGS, "Terminal reversal, V = 2")
