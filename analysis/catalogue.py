"""The figures that can be drawn, and the sweeps whose runs each of them shows."""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import analysis.figures
from analysis.compose import choice
from analysis.load import Row, Store, sweep_rows
from conf.messages import RUNS, command


def figures() -> list[str]:
    return [info.name for info in pkgutil.iter_modules(analysis.figures.__path__)]


def module(figure: str) -> ModuleType:
    return importlib.import_module(f"analysis.figures.{figure}")


def is_paper_figure(figure: str) -> bool:
    """Whether the figure is one of the paper's, whose names have a number."""
    return figure[3:5].isdigit()


def title(figure: str) -> str:
    return module(figure).__doc__.splitlines()[0]


def sweeps(figure: str) -> tuple[str, ...]:
    return getattr(module(figure), "SWEEPS", (figure,))


def rows(figure: str, store: Store, scale: str) -> list[Row]:
    """All rows of a figure's sweeps, whether or not they were run."""
    return [row for sweep in sweeps(figure) for row in sweep_rows(sweep, store, scale)]


def commands(figure: str, scale: str, runs_dir: Path = RUNS) -> dict[str, str]:
    """{sweep of a figure: the command that runs it}."""
    return {sweep: command(choice(sweep, scale), runs_dir) for sweep in sweeps(figure)}


def figure_command(figure: str, scale: str, runs_dir: Path = RUNS) -> str:
    """The shell command that runs all sweeps of a figure."""
    return " && ".join(commands(figure, scale, runs_dir).values())
