"""The figures there are, and the sweeps that each of them draws."""

import importlib
import pkgutil
from types import ModuleType

import analysis.figures
from analysis.compose import choice
from analysis.load import Row, Store, sweep_rows


def figures() -> list[str]:
    return [info.name for info in pkgutil.iter_modules(analysis.figures.__path__)]


def module(figure: str) -> ModuleType:
    return importlib.import_module(f"analysis.figures.{figure}")


def is_papers(figure: str) -> bool:
    """Whether it is one of the paper's, which are numbered."""
    return figure[3:5].isdigit()


def title(figure: str) -> str:
    return module(figure).__doc__.splitlines()[0]


def sweeps(figure: str) -> tuple[str, ...]:
    return getattr(module(figure), "SWEEPS", (figure,))


def rows(figure: str, store: Store, scale: str) -> list[Row]:
    """All rows that a figure's sweeps ask for, run or not."""
    return [row for sweep in sweeps(figure) for row in sweep_rows(sweep, store, scale)]


def command_of(sweep: str, scale: str) -> str:
    return " ".join(["python run.py", *choice(sweep, scale)])


def command(figure: str, scale: str) -> str:
    """What runs all sweeps of a figure."""
    return " && ".join(command_of(sweep, scale) for sweep in sweeps(figure))
