"""Study: objectives on sums, by a language model that gets 5 % of them right at first."""

from analysis.dots import Dots, last_values

SHARE, PERCENT = "% of the test sums", {"scale": 100.0, "bounds": (0.0, 100.0)}
PANELS = (
    Dots("sampled answers", "test_accuracy", SHARE, **PERCENT),
    Dots("one of 16 answers", "test_pass_at_16", SHARE, **PERCENT),
    Dots("likeliest answer", "test_greedy", SHARE, **PERCENT),
    Dots("entropy of the policy", "test_entropy", "nats per token"),
)


def is_default(config) -> bool:
    """At the task's learning rate, with one gradient step per rollout."""
    return config["optim"]["lr"] == 3e-5 and config["train"]["epochs"] == 1


def draw(rows):
    shown = [row for row in rows if is_default(row.config)]
    title = "Sums of two numbers below 1000, from 5 % right answers, 100 steps, one epoch, 3e-5"
    hide = ("train.epochs",) if shown else ()
    return last_values(shown or rows, PANELS, title if shown else "Sums of two numbers below 1000", hide)
