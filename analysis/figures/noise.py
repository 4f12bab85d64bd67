"""Study: final error by reward noise, with TPO's floor on the std of a group."""

from analysis.panels import Setting, final_errors

SWEEPS = ("noise_std_floor", "noise")
SETTINGS = (
    Setting("env.reward_noise", "std of reward noise", "(a) baseline 0.5", lambda c: c["env"]["baseline"] == 0.5, True),
    Setting("env.reward_noise", "std of reward noise", "(b) baseline 0", lambda c: c["env"]["baseline"] == 0, True),
)


def draw(rows):
    return final_errors(rows, SETTINGS, "Sparse bandit, one of 100 arms pays")
