"""Study: final error by the number of updates by which the rollout policy lags behind."""

from analysis.panels import Setting, final_errors

SWEEPS = ("staleness", "staleness_bandit")
LAG = "updates the rollout policy lags"
SETTINGS = (
    Setting("train.staleness", LAG, "(a) terminal reversal", lambda c: c["env"]["name"] == "terminal_reversal"),
    Setting("train.staleness", LAG, "(b) sparse bandit", lambda c: c["env"]["name"] == "sparse_bandit", True),
)


def draw(rows):
    return final_errors(rows, SETTINGS, "Stale rollouts")
