"""Study: learning rate by reward sparsity on token reversal, an error map per algorithm."""

from analysis.heat import learning_rate_maps

REWARDS = ("bag_of_tokens", "sequential", "terminal")  # from dense to sparse


def draw(rows):
    return learning_rate_maps(rows, _level, "Token reversal by reward")


def _level(config):
    reward, horizon = config["env"]["reward"], config["env"]["horizon"]
    return (REWARDS.index(reward), horizon), f"{reward.replace('_', ' ')}, H {horizon}"
