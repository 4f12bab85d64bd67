"""Study: a language model learns sums of which it gets few right at first."""

from analysis.panels import Panel, metric_panels

PANELS = (
    Panel("sampled answers", "test_accuracy", "right, share of test sums", xlabel="step"),
    Panel("likeliest answer", "test_greedy", "right, share of test sums", xlabel="step"),
    Panel("entropy of the policy", "entropy", "nats per token", xlabel="step"),
)


def draw(rows):
    return metric_panels(rows, PANELS, "Sums of two numbers below 1000, K = 16")
