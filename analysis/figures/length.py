"""Study: TPO with summed log-probs, averaged ones and ratios, by the length of the completions."""

from analysis.panels import Panel, metric_panels


def short(config):
    return not config["env"].get("working")


def long(config):
    return not short(config)


PANELS = (
    Panel("4 to 5 tokens", "test_accuracy", "right, share of test sums", xlabel="step", shows=short),
    Panel("71 tokens", "test_accuracy", "right, share of test sums", xlabel="step", shows=long),
    Panel("4 to 5 tokens", "group_size", "completions, effective", xlabel="step", shows=short),
    Panel("71 tokens", "group_size", "completions, effective", xlabel="step", shows=long),
)


def draw(rows):
    return metric_panels(
        rows, PANELS, "Sums, and sums with their working: log-probs summed or averaged, or ratios, K = 16"
    )
