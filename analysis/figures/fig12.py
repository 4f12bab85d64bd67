"""Figure 12: final error by group size K."""

from analysis.panels import Setting, final_errors

SETTINGS = (Setting("env.candidates", "candidates K per prompt"),)


def draw(rows):
    return final_errors(rows, SETTINGS, "Terminal reversal, V = 2")
