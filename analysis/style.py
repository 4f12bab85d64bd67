"""How every figure looks."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

COLUMN = 3.4  # inches, one column of a two-column page
plt.style.use(Path(__file__).with_name("style.mplstyle"))


def panels(count: int) -> tuple[Figure, list]:
    """A row of `count` panels, each one column wide."""
    figure, axes = plt.subplots(1, count, figsize=(COLUMN * count, 2.6), squeeze=False)
    return figure, list(axes[0])


def save(figure: Figure, stem: Path, formats: tuple[str, ...] = ("png", "pdf")) -> list[Path]:
    """Write `stem`.png and .pdf, and close the figure."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_suffix(f".{extension}") for extension in formats]
    for path in paths:
        figure.savefig(path)
    plt.close(figure)
    return paths
