"""A suite's board as an HTML page of one file, with columns that sort when their heads are clicked."""

from pathlib import Path

import jinja2
import pandas as pd

from analysis.leaderboard import texts
from analysis.suites import Suite

TEMPLATE = Path(__file__).with_name("templates") / "board.html.jinja"


def page(lines: pd.DataFrame, suite: Suite, images: list[str]) -> str:
    """The page of a board; `images` are files beside it."""
    tracks = []
    for track, group in lines.groupby("track"):
        shown = texts(group, suite)
        tracks.append((track, list(shown), list(zip(shown.to_numpy(), group.complete, strict=True))))
    template = jinja2.Template(TEMPLATE.read_text(), autoescape=True, keep_trailing_newline=True)
    return template.render(suite=suite, tracks=tracks, images=images)
