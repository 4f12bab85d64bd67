"""python -m analysis report: every figure and number of the paper beside ours, with verdicts, in one page."""

import base64
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd

from analysis import catalogue, cost, curves
from analysis.claims import Claim, claims
from analysis.compare import compare, grid
from analysis.load import Row, Store, cache_of, run_rows, shorter_rows
from analysis.paper import TABLES, notes
from analysis.pictures import Picture, drawn
from analysis.verdicts import LEGEND, READING
from conf.messages import duration


@dataclass(frozen=True)
class Section:
    """A figure of the paper: our picture, the tables and sentences that go with it, and where our numbers are from."""

    name: str
    title: str
    scale: str
    seeds: str
    image: str
    tables: dict[str, pd.DataFrame]
    claims: list[Claim]
    sources: list[str]
    command: str
    missing: str

    @property
    def counts(self) -> dict[str, int]:
        """{verdict: cells} over the tables."""
        found = Counter(verdict for frame in self.tables.values() for verdict in frame.verdict if verdict)
        return {verdict: found[verdict] for verdict in LEGEND if found[verdict]}


def sections(store: Store) -> list[Section]:
    """One per figure of the paper, at the paper's scale where it has any run, else at the quick one."""
    speeds = cost.speeds(store)
    figures = [figure for figure in catalogue.figures() if catalogue.is_paper_figure(figure)]
    asked = {figure: catalogue.rows(figure, store, "paper") for figure in figures}
    shown = {figure: _shown(figure, rows, store) for figure, rows in asked.items()}
    images = _images({figure: rows for figure, (_, rows) in shown.items()}, store)
    return [
        _section(figure, asked[figure], *shown[figure], images.get(figure, ""), speeds, store) for figure in figures
    ]


def write(store: Store, folder: Path) -> list[Path]:
    """report/index.html, which opens offline, and REPRODUCTION.md, the same without pictures."""
    found = sections(store)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True, trim_blocks=True
    )
    environment.globals |= {"legend": LEGEND, "reading": READING, "grid": grid, "tables": TABLES, "notes": notes}
    paths = {"report.html.jinja": folder / "report" / "index.html", "report.md.jinja": folder / "REPRODUCTION.md"}
    for template, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(environment.get_template(template).render(sections=found))
    return list(paths.values())


def _shown(figure: str, rows: list[Row], store: Store) -> tuple[str, list[Row]]:
    """The scale at which a figure is shown, and its rows with a seed, given all that it asks for at the paper's."""
    found = run_rows(figure, rows, store)
    quick = [] if found else [row for row in catalogue.rows(figure, store, "quick") if row.seeds]
    return ("quick", quick) if quick else ("paper", found)


def _images(shown: dict[str, list[Row]], store: Store) -> dict[str, str]:
    """A PNG in base64 for each figure that has runs."""
    pictures = [Picture(figure, rows, ("png",), dpi=150) for figure, rows in shown.items() if rows]
    found = zip(pictures, drawn(pictures, cache_of(store)), strict=True)
    return {picture.figure: base64.b64encode(files["png"]).decode() for picture, files in found}


def _section(
    figure: str, asked: list[Row], scale: str, shown: list[Row], image: str, speeds: cost.Speeds, store: Store
) -> Section:
    predicted = cost.seconds(asked, speeds)
    names = [name for name, table in TABLES.items() if table.figure == figure]
    less = shorter_rows(figure, asked, store)
    tables = {name: compare(name, asked, less) for name in names}
    return Section(
        name=figure,
        title=catalogue.title(figure),
        scale=scale,
        seeds=curves.seeds_text(shown) if shown else "",
        image=image,
        tables=tables,
        claims=_claims(figure, tables, store),
        sources=[_source(row) for row in shown],
        command=catalogue.figure_command(figure, "paper"),
        missing=_missing(predicted),
    )


def _missing(predicted: float | None) -> str:
    """What is missing at the paper's settings, with the time that it takes."""
    if predicted == 0:
        return "nothing is missing"
    if predicted is None:
        return "what is missing takes the time that the command says before it starts"
    return f"what is missing takes about {duration(predicted)} of one core"


def _claims(figure: str, tables: dict[str, pd.DataFrame], store: Store) -> list[Claim]:
    """The claims of a figure at the paper's scale, or at the quick one where none can be judged there."""
    found = claims(figure, tables)
    if not found or any(claim.found for claim in found):
        return found
    quick = catalogue.rows(figure, store, "quick")
    return claims(figure, {name: compare(name, quick) for name in tables}, "quick")


def _source(row: Row) -> str:
    """Run, seeds, device, versions and command of a row."""
    batch = (row.run.manifest().get("batches") or [{}])[-1]
    versions = ", ".join(f"{name} {version}" for name, version in batch.get("versions", {}).items())
    commit = (batch.get("commit") or "unknown")[:10]
    where = f"run {row.run.path.name}, {row.seeds} seeds, {batch.get('device', 'device unknown')}, {versions}"
    return f"{row.label}: {where}, commit {commit}; {row.command}"
