"""Figure 2: single-context bandit, error and misalignment to the gradient of the expected reward."""

from analysis.curves import two_panels


def draw(rows):
    return two_panels(rows, "Sparse bandit, one of 100 arms pays")
