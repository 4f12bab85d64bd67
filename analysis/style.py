"""The style of all figures: sizes, panels, shades, and how they are saved."""

import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

COLUMN = 3.4  # inches, one column of a two-column page
PANEL = 1.8
LETTER = 0.075  # inches, of a title
DASHES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (8, 3)))
STYLE = Path(__file__).with_name("style.mplstyle")
plt.style.use(STYLE)


def panels(count: int, width: float = COLUMN, height: float = 2.6) -> tuple[Figure, list]:
    """A row of `count` panels, each one column wide unless `width` (inches) says otherwise."""
    figure, axes = plt.subplots(1, count, figsize=(width * count, height), squeeze=False)
    return figure, list(axes[0])


def small_multiples(rows: int, columns: int, height: float = 1.6, sharex: str = "all") -> tuple[Figure, np.ndarray]:
    """A block of panels (rows, columns) with shared axes, each `height` inches high; two to four fit a text width.

    sharex  "all", or "col" for a horizontal axis of its own in each column
    """
    width = max(PANEL * columns, COLUMN)
    size = (width, height * rows + 0.9)
    return plt.subplots(rows, columns, figsize=size, squeeze=False, sharex=sharex, sharey=True)


def head(figure: Figure, title: str, seeds: str) -> None:
    """Write a title above all panels, in as many lines as it takes, and the number of seeds below it."""
    figure.suptitle(f"{textwrap.fill(title, int(figure.get_figwidth() / LETTER))}\n{seeds}", fontsize=9)


def mark_if_empty(axis) -> None:
    """Say in a panel without curves that nothing of it has run."""
    if not axis.lines:
        axis.text(0.5, 0.5, "not run", transform=axis.transAxes, ha="center", va="center", color="0.5")


def shade(color: str, place: float) -> tuple[float, ...]:
    """`color` from light (place 0) to dark (place 1)."""
    towards, share = (1.0, 0.6 * (1 - 2 * place)) if place < 0.5 else (0.0, 0.6 * (2 * place - 1))
    return tuple((1 - share) * part + share * towards for part in to_rgb(color))


def save(figure: Figure, stem: Path, formats: tuple[str, ...] = ("png", "pdf")) -> list[Path]:
    """Write the figure as `stem`.FORMAT for each of `formats`, and close it."""
    return write(encoded(figure, formats), stem)


def encoded(figure: Figure, formats: tuple[str, ...] = ("png", "pdf"), dpi: float | None = None) -> dict[str, bytes]:
    """The content of a file of each format; closes the figure. `dpi`: None for that of the style."""
    found = {extension: io.BytesIO() for extension in formats}
    dpi = plt.rcParams["savefig.dpi"] if dpi is None else dpi
    with _laid_out(figure, dpi):
        for extension, buffer in found.items():
            figure.savefig(buffer, format=extension, dpi=dpi)
    plt.close(figure)
    return {extension: buffer.getvalue() for extension, buffer in found.items()}


def write(files: dict[str, bytes], stem: Path) -> list[Path]:
    """Write {extension: content} as `stem`.extension."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_suffix(f".{extension}") for extension in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(content)
    return paths


@contextmanager
def _laid_out(figure: Figure, dpi: float) -> Iterator[None]:
    """Lay the figure out once at this resolution, since matplotlib would do it again for each file."""
    figure.set_dpi(dpi)
    figure.get_layout_engine().execute(figure)
    with plt.rc_context({"figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)  # the one of the rc parameters, so none
        yield
