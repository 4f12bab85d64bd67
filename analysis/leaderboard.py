"""python -m analysis leaderboard: every method on every task of a suite."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.table import Table

from analysis import aggregate, suite_rows, tables
from analysis.board_findings import findings
from analysis.suite_cells import Cell
from analysis.suites import Suite

RIVALS = ("TPO", "GRPO")


def board(found: list[Cell], suite: Suite) -> pd.DataFrame:
    """One line per method and track; the complete ones come first, by late score, and only they have a rank.

    tasks          number of tasks with all reported seeds; complete: whether that is all of them
    late, area     interquartile mean over tasks and seeds of both scores; low, high: the 95 % interval of `late`
    family_NAME    mean late score of the tasks of a family
    mean_rank      mean place by late score, task by task, among the complete methods of the track
    wins_NAME      probability that a seed scores higher than one of NAME in the same track, with _low and _high
    non_finite     number of seeds that turned non-finite, which score 0
    edge           number of tasks for which the track chose a learning rate on the edge of its grid
    seconds, gradient_steps   of one seed, sum over tasks
    """
    groups: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in found:
        groups.setdefault((cell.track, cell.method), {})[cell.task.name] = cell
    lines = pd.DataFrame([_line(track, method, groups, suite) for track, method in groups])
    if lines.empty:
        return lines
    lines["mean_rank"] = np.nan
    for track, complete in lines[lines.complete].groupby("track"):
        ranks = aggregate.ranks(by_task(found, track).loc[complete.method])
        lines.loc[complete.index, "mean_rank"] = complete.method.map(ranks)
    lines = lines.sort_values(["track", "complete", "late", "tasks"], ascending=[True, False, False, False])
    lines["rank"] = lines.groupby("track").cumcount() + 1
    lines["rank"] = lines["rank"].where(lines.complete)
    return lines.reset_index(drop=True)


def _line(track: str, method: str, groups: dict[tuple[str, str], dict[str, Cell]], suite: Suite) -> dict[str, Any]:
    ours, protocol = groups[track, method], suite.protocol
    late, full = _late(ours, suite), [name for name, cell in ours.items() if cell.row.seeds >= protocol.seeds]
    complete = len(full) == len(suite.tasks)
    low, high = aggregate.iqm_interval(late) if complete else (np.nan, np.nan)
    line = {"method": method, "track": track, "tasks": len(full), "complete": complete}
    line |= {"late": float(aggregate.iqm(late)) if complete else np.nan, "low": low, "high": high}
    line["area"] = float(aggregate.iqm([cell.area() for cell in ours.values()])) if complete else np.nan
    for family in suite.families:
        scores = [scores for task, scores in zip(suite.tasks, late, strict=True) if task.family == family]
        line[f"family_{family}"] = float(np.mean([s.mean() if len(s) else np.nan for s in scores]))
    for rival in RIVALS:
        theirs = groups.get((track, rival), {})
        compared = complete and rival != method and theirs
        wins = aggregate.improvement_over_tasks(late, _late(theirs, suite)) if compared else (np.nan,) * 3
        line |= dict(zip((f"wins_{rival}", f"wins_{rival}_low", f"wins_{rival}_high"), wins, strict=True))
    chosen = ours.values() if track == "tuned" else ()
    line["edge"] = sum(suite_rows.is_edge(cell.setting, protocol) for cell in chosen)
    line["non_finite"] = sum(cell.non_finite for cell in ours.values())
    line["seconds"] = sum(cell.row.seconds_per_seed for cell in ours.values())
    return line | {"gradient_steps": sum(cell.gradient_steps for cell in ours.values())}


def _late(ours: dict[str, Cell], suite: Suite) -> list[np.ndarray]:
    """Late scores of each task, none where it was not run."""
    return [ours[task.name].late() if task.name in ours else np.empty(0) for task in suite.tasks]


def by_task(found: list[Cell], track: str) -> pd.DataFrame:
    """Mean late score by method (rows) and task (columns) of a track; NaN where it was not run."""
    lines = [(c.method, c.task.name, c.late().mean()) for c in found if c.track == track]
    frame = pd.DataFrame(lines, columns=["method", "task", "score"])
    return frame.pivot(index="method", columns="task", values="score")


def cell_frame(found: list[Cell], suite: Suite) -> pd.DataFrame:
    """A line per cell: seeds, mean late error, mean scores, and the setting with which the track trained it."""
    return pd.DataFrame(
        [
            {
                "method": cell.method,
                "track": cell.track,
                "task": cell.task.name,
                "seeds": cell.row.seeds,
                "late_error": cell.late_error().mean(),
                "late": cell.late().mean(),
                "area": cell.area().mean(),
                "learning_rate_factor": cell.setting.factor,
                "epochs": cell.setting.epochs,
                "edge": suite_rows.is_edge(cell.setting, suite.protocol),
            }
            for cell in found
        ]
    )


def records(found: list[Cell], suite: Suite) -> list[str]:
    """Sentences about the tasks on which a complete cell is better than the best that the suite's file knows."""
    sentences = []
    for task in suite.tasks:
        complete = [c for c in found if c.task == task and c.row.seeds >= suite.protocol.seeds]
        best = min(complete, key=lambda cell: cell.late_error().mean(), default=None)
        if best is not None and (error := best.late_error().mean()) < task.best:
            text = f"{task.name}: {best.method} ({best.track} track) reaches {error:.4g}, below the best known "
            sentences.append(f"{text}{task.best:g}: write it into the suite's file")
    return sentences


def texts(lines: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    """A board as text: a column of each thing that a reader compares."""
    lines = lines.reset_index(drop=True)
    shown = pd.DataFrame({"": tables.numbers(lines["rank"], "{:.0f}"), "method": lines.method.tolist()})
    whole = len(suite.tasks)
    shown["late IQM [95 %]"] = [_score(line, whole) for line in lines.itertuples()]
    shown["area IQM"] = tables.numbers(lines.area, "{:.2f}")
    shown["mean rank"] = tables.numbers(lines.mean_rank, "{:.1f}")
    for rival in RIVALS:
        shown[f"beats {rival}"] = tables.numbers(lines[f"wins_{rival}"], "{:.2f}")
    for family in suite.families:
        shown[family] = tables.numbers(lines[f"family_{family}"], "{:.2f}")
    shown["sec."] = tables.numbers(lines.seconds, "{:.0f}")
    shown["1000 steps"] = tables.numbers(lines.gradient_steps / 1000, "{:.1f}")
    if lines.non_finite.any():
        shown["non-finite seeds"] = lines.non_finite.astype(str)
    if lines.edge.any():
        shown["at edge"] = lines.edge.astype(str)
    return shown


def _score(line, whole: int) -> str:
    if not line.complete:
        return f"{line.tasks} of {whole} tasks"
    return tables.with_interval(line.late, line.low, line.high)


def render(lines: pd.DataFrame, suite: Suite) -> list[Table]:
    """A terminal table for each track; the complete methods stand above a line."""
    return [_table(track, group, suite) for track, group in lines.groupby("track")]


def _table(track: str, lines: pd.DataFrame, suite: Suite) -> Table:
    title = f"Suite {suite.name}, {track} track, {suite.protocol.seeds} seeds: 0 chance, 1 best known"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    shown = texts(lines, suite)
    for name in shown:
        if name == "method":
            table.add_column(name, no_wrap=True)
        else:  # a narrow terminal shortens names of methods rather than numbers
            longest = int(shown[name].str.len().max())
            table.add_column(name.replace(" ", "\n", 1), justify="right", no_wrap=True, min_width=longest)
    complete = int(lines.complete.sum())
    for place, line in enumerate(shown.itertuples(index=False), 1):
        table.add_row(*line, end_section=place == complete)
    return table


def neighbours(lines: pd.DataFrame, methods: Iterable[str]) -> pd.DataFrame:
    """The lines of some methods, beside TPO, GRPO and the best of each track."""
    wanted = {*methods, *RIVALS}
    return lines[lines.method.isin(wanted) | (lines["rank"] == 1)].reset_index(drop=True)


def made_by(command: str) -> str:
    """The sentence of a board's page by which it is known."""
    return f"Made by `{command}`."


def markdown(lines: pd.DataFrame, suite: Suite, images: Iterable[str], command: str) -> str:
    """A document: what the board shows and what it cannot, a table and the `images` of each track, the tasks."""
    protocol = suite.protocol
    parts = [f"# Leaderboard of the suite {suite.name}", made_by(command), "## What it shows"]
    parts.append("\n".join(f"- {text}" for text in findings(lines, suite)) or "No method has run every task yet.")
    if suite.limits:
        parts += ["## What it cannot show", "\n".join(f"- {text}" for text in suite.limits)]
    for track, group in lines.groupby("track"):
        parts += [f"## {track.capitalize()} track", tables.markdown(texts(group, suite))]
        parts += [f"![{name}]({name})" for name in images if f"_{track}_" in name]
    about = [[t.name, t.family, f"`{t.set}`", t.metric, f"{t.chance:g}", f"{t.best:g}"] for t in suite.tasks]
    columns = ["task", "family", "overrides", "error", "chance", "best"]
    parts += ["## Tasks", tables.markdown(pd.DataFrame(about, columns=columns))]
    parts.append(
        f"Seeds 0 to {protocol.seeds - 1} are reported. A score is (chance - error) / (chance - best). The tuned track "
        f"chooses among {len(protocol.learning_rates)} learning rates and {' or '.join(map(str, protocol.epochs))} "
        f"gradient steps per rollout, by the mean late error on seeds {', '.join(map(str, protocol.tuning_seeds))}. "
        f"*At edge* counts the tasks whose chosen learning rate is the smallest or the largest of the grid."
    )
    return "\n\n".join(parts) + "\n"
