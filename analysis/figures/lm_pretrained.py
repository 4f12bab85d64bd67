"""Study: objectives on three tasks of a pretrained language model."""

from analysis.dots import Dots, default_values

TASKS = {"products": "products", "chain_sum": "chain sums", "calendar_arithmetic": "calendars"}
METRICS = {"test_accuracy": "pass@1", "test_pass_at_16": "pass@16"}
PANELS = tuple(
    Dots(
        f"{title}, {name}",
        metric,
        "% of problems",
        percent=True,
        shows=lambda config, task=task: config["env"]["name"] == task,
    )
    for metric, name in METRICS.items()
    for task, title in TASKS.items()
)


def draw(rows):
    return default_values(rows, PANELS, "SmolLM2-135M-Instruct", 1e-5)
