"""Tables for the terminal and for documents, among them the table that ends a run."""

import numpy as np
import pandas as pd
from rich.table import Table

from analysis import stats
from analysis.load import Row
from store.identity import identity

THRESHOLDS = (0.1, 0.01)
GOAL = THRESHOLDS[-1]


def summary(rows: list[Row]) -> pd.DataFrame:
    """Columns label, seeds, those of them that turned non_finite (whose error is 1), final error with 95 % interval,
    steps to 10 % and 1 % (NaN: never), training seconds.
    """
    return pd.DataFrame([_summarise(row) for row in rows])


def _summarise(row: Row) -> dict:
    steps, errors = row.errors()
    mean = errors.mean(axis=1)
    final = stats.mean_with_interval(errors[-1], stats.ERRORS)
    values = {"label": row.label, "seeds": final["n"], "non_finite": row.non_finite()}
    values |= {"error": final["mean"], "low": final["low"], "high": final["high"]}
    for threshold in THRESHOLDS:
        values[f"steps_to_{threshold:g}"] = stats.steps_to(steps, mean, threshold)
    return values | {"seconds": row.seconds}


def seed_by_seed(rows: list[Row]) -> pd.DataFrame:
    """Columns label, number of seeds that get below 1 %, median of their first steps there, and excess late error.

    A seed that never gets below 1 % has an infinite step. The excess ("beyond") is the late error minus that of the
    best row, which is the first row of the same task and steps. It is a mean over the seeds that both rows have, with
    its 95 % interval, since a seed draws the same contexts under every method that has as many in a step.
    """
    best = {_task(row): row for row in reversed(rows)}
    return pd.DataFrame([_seed_by_seed(row, best[_task(row)]) for row in rows])


def _task(row: Row) -> tuple[str, int, str]:
    return str(identity(row.config)["env"]), row.config["train"]["steps"], row.config["match"]


def _seed_by_seed(row: Row, best: Row) -> dict:
    steps = stats.steps_per_seed(*row.metric("error"), GOAL)
    # without interpolation, which has no value between a number and infinity
    median = np.quantile(steps, 0.5, method="inverted_cdf")
    beyond, low, high, common = stats.paired(row.late("error"), best.late("error"))
    values = {"label": row.label, "arrived": int(np.isfinite(steps).sum()), "seeds": len(steps), "median": median}
    return values | {"beyond": beyond, "beyond_low": low, "beyond_high": high, "common": common}


def render_seeds(frame: pd.DataFrame) -> Table:
    """A terminal table of `seed_by_seed`."""
    shown = pd.DataFrame({"algorithm": frame.label})
    shown[f"seeds below {100 * GOAL:g} %"] = [f"{row.arrived} of {row.seeds}" for row in frame.itertuples()]
    shown["median step"] = numbers(frame["median"].where(np.isfinite), "{:.0f}")
    shown["error beyond the best [95 %]"] = [_excess_text(row) for row in frame.itertuples()]
    return terminal(
        "Seed by seed, late errors on the seeds that a run has in common with the best of its task and length",
        shown.assign(common=frame.common.astype(str)),
    )


def _excess_text(row) -> str:
    if not row.common:
        return "-"
    return f"{row.beyond:.3g} {bracket(row.beyond_low, row.beyond_high)}"


def render(frame: pd.DataFrame, title: str) -> Table:
    """A terminal table of `summary`."""
    shown = pd.DataFrame({"algorithm": frame.label, "seeds": frame.seeds.astype(str)})
    if frame.non_finite.any():
        shown["non-finite, error 1"] = frame.non_finite.astype(str)
    shown["final error [95 %]"] = [f"{row.error:.3g} {bracket(row.low, row.high)}" for row in frame.itertuples()]
    for threshold in THRESHOLDS:
        shown[f"steps to {100 * threshold:g} %"] = numbers(frame[f"steps_to_{threshold:g}"], "{:.0f}")
    return terminal(title, shown.assign(seconds=numbers(frame.seconds, "{:.1f}")))


def bracket(low: float, high: float) -> str:
    """An interval as text, "[-]" for none."""
    return "[-]" if np.isnan(low) else f"[{low:.3g}, {high:.3g}]"


def with_interval(value: float, low: float, high: float, decimals: int = 2) -> str:
    """A number and its interval; the number alone where there is no interval."""
    shown, below, above = (f"{number:.{decimals}f}" for number in (value, low, high))
    return shown if np.isnan(low) else f"{shown} [{below}, {above}]"


def numbers(values: pd.Series, form: str) -> list[str]:
    """Numbers as text, "-" for NaN."""
    return ["-" if pd.isna(value) else form.format(value) for value in values]


def terminal(title: str, frame: pd.DataFrame, lines: bool = False, names: int = 1) -> Table:
    """A frame of text as a table for the terminal. Its first `names` columns are names; `lines` separates the rows."""
    table = Table(title=title, title_justify="left", show_lines=lines)
    for place, column in enumerate(frame):
        name = place < names
        head = str(column) if name else str(column).replace(" ", "\n", 1)
        is_text = name and frame.iloc[:, place].str.contains(" ").any()
        table.add_column(head, justify="left" if name else "right", no_wrap=not is_text)
    for line in frame.itertuples(index=False):
        table.add_row(*line)
    return table


def markdown(frame: pd.DataFrame) -> str:
    """A frame of text as a markdown table."""
    lines = [list(frame), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
