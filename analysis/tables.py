"""Small tables of final errors and how fast they were reached."""

import numpy as np
import pandas as pd
from rich.table import Table

from analysis import stats
from analysis.load import Row

THRESHOLDS = (0.1, 0.01)


def summary(rows: list[Row]) -> pd.DataFrame:
    """label, finite seeds, final error with its 95 % interval, steps to 10 % and 1 % (NaN: never), training seconds."""
    return pd.DataFrame([_summarise(row) for row in rows])


def _summarise(row: Row) -> dict:
    steps, errors = row.finite("error")
    mean = errors.mean(axis=1) if errors.shape[1] else np.full(len(steps), np.nan)
    low, high = stats.interval(errors[-1])
    values = {"label": row.label, "seeds": errors.shape[1], "error": mean[-1], "low": float(low), "high": float(high)}
    for threshold in THRESHOLDS:
        values[f"steps_to_{threshold:g}"] = stats.steps_to(steps, mean, threshold)
    values["seconds"] = sum(batch["seconds"] for batch in row.run.manifest().get("batches", []))
    return values


def render(frame: pd.DataFrame, title: str) -> Table:
    """A terminal table of `summary`."""
    table = Table(title=title, title_justify="left")
    for name in ("algorithm", "seeds", "final error [95 %]", "steps to 10 %", "steps to 1 %", "seconds"):
        table.add_column(name, justify="left" if name == "algorithm" else "right")
    for _, row in frame.iterrows():
        to = ["-" if pd.isna(row[f"steps_to_{t:g}"]) else str(int(row[f"steps_to_{t:g}"])) for t in THRESHOLDS]
        error = f"{row.error:.3g}" + ("" if np.isnan(row.low) else f" [{row.low:.3g}, {row.high:.3g}]")
        table.add_row(row.label, str(row.seeds), error, *to, f"{row.seconds:.1f}")
    return table
