"""Figure 3: contextual bandit with exact gradients, error and misalignment to cross-entropy."""

from analysis.curves import error_and_misalignment


def draw(rows):
    return error_and_misalignment(rows, "Contextual bandit, 100 contexts x 10 arms, exact gradients")
