"""Study: objectives on three tasks of a pretrained language model."""

from analysis.panels import Panel, metric_panels

TASKS = {"products": "products", "chain_sum": "chain sums", "calendar_arithmetic": "calendars"}
METRICS = {"test_accuracy": "pass@1", "test_pass_at_16": "pass@16"}
PANELS = tuple(
    Panel(
        f"{title}, {ylabel}",
        metric,
        ylabel,
        xlabel="step",
        shows=lambda config, task=task: config["env"]["name"] == task,
    )
    for metric, ylabel in METRICS.items()
    for task, title in TASKS.items()
)


def is_default(config) -> bool:
    """At the tasks' learning rate, with one gradient step per rollout."""
    return config["optim"]["lr"] == 1e-5 and config["train"]["epochs"] == 1


def draw(rows):
    shown = [row for row in rows if is_default(row.config)]
    return metric_panels(shown or rows, PANELS, f"SmolLM2-135M-Instruct{', one epoch, 1e-5' * bool(shown)}")
