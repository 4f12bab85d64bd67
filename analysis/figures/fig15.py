"""Figure 15: final error by gradient epochs per rollout."""

from analysis.panels import Setting, final_errors

SETTINGS = (Setting("train.epochs", "gradient epochs per rollout"),)


def draw(rows):
    return final_errors(rows, SETTINGS, "Terminal reversal, V = 2", hide=("train.epochs",))
