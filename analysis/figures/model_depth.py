"""Study: final error by depth of the transformer."""

from analysis.panels import Setting, final_errors

SETTINGS = (Setting("model.layers", "layers"),)


def draw(rows):
    return final_errors(rows, SETTINGS, "Terminal reversal, V = 2")
