"""The end of a command: it prints a table, the paths of data and curves, and failures, and returns the exit code."""

import os

from rich.console import Console

from analysis import tables
from analysis.curves import save_error_figure
from analysis.labels import label, with_unique_labels
from analysis.load import Row

NAMED = 3  # jobs of a line, by their names


def conclude(outcomes: list, console: Console) -> int:
    """Print the outcomes, and return the exit code: 0 for success, 1 for a failure, 2 if no job could be run."""
    finished = [o for o in outcomes if o.status in ("done", "skipped") and o.run]
    rows = [Row(o.run.config(), label(o.run.config()), o.run, o.seeds) for o in finished]
    for env in dict.fromkeys(row.config["env"]["name"] for row in rows):
        _show([row for row in rows if row.config["env"]["name"] == env], env, console)
    stopped = [o for o in outcomes if o.status == "stopped"]
    problems = [o for o in outcomes if o.status not in ("done", "skipped", "busy", "followed", "stopped")]
    for complaint in _complaints(problems, len(outcomes)):
        _complain(complaint, console)
    busy = {o.label: sorted(set(o.seeds) - set(o.run.seeds_done())) for o in outcomes if o.status == "busy"}
    unfinished = {name: left for name, left in busy.items() if left}
    for name, left in unfinished.items():
        text = f"busy: {name}: another process trains it, and seeds {', '.join(map(str, left))} are left"
        _complain(f"{text}; type the same command when it is done", console)
    if stopped:
        text = f"the first jobs failed in the same place, {stopped[0].place}: {len(stopped)} were not started"
        _complain(f"{text}; mend it and type the same command, or add launch.keep_going=true", console)
    if problems and len(problems) == len(outcomes) and not any(o.run for o in problems):
        return 2
    return 1 if unfinished or any(o.status in ("failed", "refused") for o in problems) else 0


def _complaints(problems: list, jobs: int) -> list[str]:
    """A line for each outcome that is no success; one line for many of all `jobs` that were refused for one reason."""
    alike: dict[str, list] = {}
    for outcome in problems:
        alike.setdefault(outcome.message if outcome.status == "refused" else outcome.complaint, []).append(outcome)
    return [_complaint(found, jobs) for found in alike.values()]


def _complaint(outcomes: list, jobs: int) -> str:
    if len(outcomes) == 1 or outcomes[0].status != "refused":
        return outcomes[0].complaint
    names = ", ".join([outcome.label for outcome in outcomes[:NAMED]] + ["..."] * (len(outcomes) > NAMED))
    return f"refused: {len(outcomes)} jobs{f' ({names})' if len(outcomes) < jobs else ''}: {outcomes[0].message}"


def _complain(text: str, console: Console) -> None:
    console.print(text, style="red", soft_wrap=True, highlight=False)


def _show(rows: list[Row], env: str, console: Console) -> None:
    rows = with_unique_labels(rows)
    console.print(tables.render(tables.summary(rows), env))
    for row in rows:
        curve = save_error_figure([row], row.run.curve.with_suffix(""))
        console.print(f"{row.label}: data {row.run.path}{os.sep}, curve {curve}", soft_wrap=True, highlight=False)
    if len(rows) > 1:
        together = save_error_figure(rows, rows[0].run.path.parents[1] / "curves")
        console.print(f"all: {together}", soft_wrap=True, highlight=False)
