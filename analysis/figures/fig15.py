"""Figure 15: final error by gradient epochs per rollout."""

from analysis.panels import final_errors


def draw(rows):
    title = "Terminal reversal, V = 2"
    return final_errors(rows, "train.epochs", "gradient epochs per rollout", title, hide=("train.epochs",))
