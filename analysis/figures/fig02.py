"""Figure 2: single-context bandit, error and misalignment to the gradient of the expected reward."""

from analysis.curves import error_and_misalignment


def draw(rows):
    return error_and_misalignment(rows, "Sparse bandit, one of 100 arms pays")
