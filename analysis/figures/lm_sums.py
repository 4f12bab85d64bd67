"""Study: objectives on sums, by a language model that gets 5 % of them right at first."""

from analysis.panels import Panel, metric_panels

PANELS = (
    Panel("sampled answers", "test_accuracy", "right, share of test sums", xlabel="step"),
    Panel("one of 16", "test_pass_at_16", "solved, share of test sums", xlabel="step"),
    Panel("entropy of the policy", "entropy", "nats per token", xlabel="step"),
)


def is_default(config) -> bool:
    """At the task's learning rate, with one gradient step per rollout."""
    return config["optim"]["lr"] == 3e-5 and config["train"]["epochs"] == 1


def draw(rows):
    shown = [row for row in rows if is_default(row.config)]
    title = "Sums of two numbers below 1000, from 5 % right answers, one epoch, 3e-5"
    return metric_panels(shown or rows, PANELS, title if shown else "Sums of two numbers below 1000")
