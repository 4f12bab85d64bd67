"""Study: candidates per prompt at a fixed number of rollouts, final error."""

from analysis.panels import Setting, final_errors

SETTINGS = (Setting("env.candidates", "candidates K per prompt"),)


def draw(rows):
    batch, k = (rows[0].config["env"][key] for key in ("batch", "candidates"))
    return final_errors(rows, SETTINGS, f"Terminal reversal, {batch * k} rollouts per update")
