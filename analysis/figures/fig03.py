"""Figure 3: contextual bandit with exact gradients, error and misalignment to cross-entropy."""

from analysis.curves import two_panels


def draw(rows):
    return two_panels(rows, "Contextual bandit, 100 contexts x 10 arms, exact gradients")
