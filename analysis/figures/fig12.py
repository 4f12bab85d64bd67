"""Figure 12: final error by group size K."""

from analysis.panels import final_errors


def draw(rows):
    return final_errors(rows, "env.candidates", "candidates K per prompt", "Terminal reversal, V = 2")
