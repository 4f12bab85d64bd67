"""Study: learning rate by reward sparsity on the sparse bandit, an error map per algorithm."""

from analysis.heat import learning_rate_maps

SWEEPS = ("lr_sparsity_bandit", "lr_sparsity_bandit_share")


def draw(rows):
    return learning_rate_maps(rows, _level, "Sparse bandit by paying arms")


def _level(config):
    arms, correct = config["env"]["arms"], config["env"]["correct"]
    return (-correct / arms, arms), f"{correct:,} of {arms:,}"
