"""Study: objectives on sums, by a language model that gets 5 % of them right at first."""

from analysis.dots import Dots, default_values

SHARE = "% of the test sums"
PANELS = (
    Dots("sampled answers", "test_accuracy", SHARE, percent=True),
    Dots("one of 16 answers", "test_pass_at_16", SHARE, percent=True),
    Dots("likeliest answer", "test_greedy", SHARE, percent=True),
    Dots("entropy", "test_entropy", "nats per token"),
)


def draw(rows):
    return default_values(rows, PANELS, "Sums of two numbers below 1000, from 5 % right answers", 3e-5)
