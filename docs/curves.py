"""One small picture per method: its error on two tasks, with 1 and 4 epochs, beside TPO's."""

from pathlib import Path

from analysis import curves, style
from analysis.load import Row, sweep_rows
from analysis.rivals import default_rate_rows, epochs
from docs.sections import configured_objectives
from store.archive import Archive
from store.results import Results
from store.runs import RunStore

SWEEPS = ("rivals_bandit", "rivals_terminal")
COMMANDS = [f"python run.py studies={sweep} scale=quick" for sweep in SWEEPS]
DASHES = {1: "-", 4: "--"}


def draw_all(out: Path) -> tuple[int, list[str]]:
    """How many pictures were written as NAME.png, and the methods without runs."""
    store = Results(RunStore(Path("runs")), Archive(Path("results")))
    tasks = [[row for row in default_rate_rows(sweep_rows(sweep, store, "quick")) if row.seeds] for sweep in SWEEPS]
    names = dict.fromkeys(objective.name for _, objective in configured_objectives())
    drawn = [name for name in names if any(_of(name, rows) for rows in tasks)]
    out.mkdir(exist_ok=True)
    for name in drawn:
        figure, axes = style.panels(2, 2.6, 1.9)
        for axis, rows, sweep in zip(axes, tasks, SWEEPS, strict=True):
            _panel(axis, _of(name, rows), _of("tpo", rows), rows[0].config["env"]["label"] if rows else sweep)
        figure.savefig(out / f"{name}.png", dpi=100, pil_kwargs={"optimize": True})  # small: there are many
        style.plt.close(figure)
    return len(drawn), [name for name in names if name not in drawn]


def _of(name: str, rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.config["algo"]["name"] == name]


def _panel(axis, ours: list[Row], beside: list[Row], title: str) -> None:
    for row in beside:
        curves.draw_curve(axis, row, "error", {"color": "#BBBBBB", "linestyle": DASHES[epochs(row)], "linewidth": 0.8})
    for row in ours:
        text = "1 epoch" if epochs(row) == 1 else f"{epochs(row)} epochs"
        curves.draw_curve(axis, row, "error", row.style | {"linestyle": DASHES[epochs(row)], "label": text})
    axis.set(title=title if ours else f"{title}: does not fit", ylim=(-0.03, 1.03))
    if ours:
        axis.legend(fontsize=6)
