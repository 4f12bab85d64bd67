"""Study: objectives on three tasks of a pretrained language model."""

from analysis.dots import Dots, last_values

TASKS = {"products": "products", "chain_sum": "chain sums", "calendar_arithmetic": "calendars"}
METRICS = {"test_accuracy": "pass@1", "test_pass_at_16": "pass@16"}
PANELS = tuple(
    Dots(
        f"{title}, {name}",
        metric,
        "% of the test problems",
        scale=100.0,
        bounds=(0.0, 100.0),
        shows=lambda config, task=task: config["env"]["name"] == task,
    )
    for metric, name in METRICS.items()
    for task, title in TASKS.items()
)


def is_default(config) -> bool:
    """At the tasks' learning rate, with one gradient step per rollout."""
    return config["optim"]["lr"] == 1e-5 and config["train"]["epochs"] == 1


def draw(rows):
    shown = [row for row in rows if is_default(row.config)]
    hide = ("train.epochs",) if shown else ()
    title = f"SmolLM2-135M-Instruct{', one epoch, 1e-5' * bool(shown)}"
    return last_values(shown or rows, PANELS, title, hide)
