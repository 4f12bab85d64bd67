"""python -m analysis leaderboard --of FIGURE: the methods of a study over the tasks that they have."""

import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from analysis import aggregate, stats, style, tables
from analysis.labels import matchings, method_names
from analysis.leaderboard import RIVALS
from analysis.load import Row
from store.identity import NEUTRAL, identity

log = logging.getLogger(__name__)
TRAIN = ("staleness", "kl_beta")  # settings of training that make another task


@dataclass(frozen=True)
class Entry:
    """One method on one task: normalised scores of its seeds, 0 for chance and 1 for the best mean known."""

    method: str
    task: str
    scores: np.ndarray
    rollouts: float
    seconds: float
    look: dict[str, Any]


def entries(rows: list[Row]) -> list[Entry]:
    """One per method and task. Left out are tasks that only one method has run, and tasks without a scale.

    score = (chance - error) / (chance - best); error: as `stats.late` has it; best: the
    lowest mean error on the task; chance: the error at the first record, mean over the methods.
    """
    tasks: dict[str, dict[str, Row]] = {}
    asked = set()
    methods = {_method(row.config): row.config for row in rows}
    called = dict(zip(methods, method_names(list(methods.values()), ("match",)), strict=True))
    for row in sorted(rows, key=lambda row: row.seeds):
        for match in matchings(row.config):
            key = _key(row.config, match)
            # runs of one method that differ in what they record alone: the one with the most seeds stands for them
            tasks.setdefault(key, {})[called[_method(row.config)]] = row
            asked |= {key} if match == row.config["match"] else set()
    compared = {task: found for task, found in tasks.items() if task in asked and len(found) > 1}
    names = _names({task: next(iter(found.values())).config["env"]["label"] for task, found in compared.items()})
    return [entry for task, found in compared.items() for entry in _of_task(names[task], found)]


def board(found: list[Entry]) -> pd.DataFrame:
    """One line per method: tasks, IQM of its scores with a 95 % interval, mean rank, wins, cost per seed and task.

    rank    mean place by mean score, among the methods that have every task; NaN for the others
    wins_X  probability that a seed has a higher score than one of X, mean over the tasks that both have; NaN for none
    """
    methods = list(dict.fromkeys(entry.method for entry in found))
    lines = pd.DataFrame([_line(method, found) for method in methods])
    lines["rank"] = lines.method.map(aggregate.ranks(by_task(found).dropna()))
    return lines.sort_values(["tasks", "iqm"], ascending=False, ignore_index=True)


def by_task(found: list[Entry]) -> pd.DataFrame:
    """Mean score by method (rows) and task (columns); NaN where it was not run, and never imputed."""
    cells = pd.DataFrame([{"method": e.method, "task": e.task, "score": e.scores.mean()} for e in found])
    return cells.pivot(index="method", columns="task", values="score")


def render(board: pd.DataFrame, by: pd.DataFrame) -> list[Table]:
    """Terminal tables of `board`, and of the best method and the rivals on each task of `by_task`."""
    texts = {"Leaderboard": _texts(board), "Mean score by task, 0 chance, 1 best known": _best(by)}
    return [tables.terminal(title, frame) for title, frame in texts.items()]


def markdown(board: pd.DataFrame, by: pd.DataFrame) -> str:
    """The same for a document."""
    return "\n\n".join(tables.markdown(frame) for frame in (_texts(board), _scores(by))) + "\n"


def draw(found: list[Entry], board: pd.DataFrame) -> style.Figure:
    """IQM with its interval, and the mean on each task as a small point."""
    figure, (axis,) = style.panels(1, style.COLUMN * 1.4, 0.9 + 0.28 * len(board))
    looks = {entry.method: entry.look for entry in found}
    for place, line in enumerate(board[::-1].itertuples()):
        color = looks[line.method]["color"]
        means = [entry.scores.mean() for entry in found if entry.method == line.method]
        axis.plot(means, [place] * len(means), ".", color=color, alpha=0.35, markersize=4)
        axis.plot([line.low, line.high], [place, place], color=color, linewidth=2)
        axis.plot(line.iqm, place, "o", color=color, markersize=5)
    axis.set_yticks(range(len(board)), [f"{line.method} ({line.tasks})" for line in board[::-1].itertuples()])
    axis.set(xlabel="score: IQM with 95 % interval", title="Leaderboard (number of tasks)")
    axis.set_ylim(-0.7, len(board) - 0.3)
    axis.set_xlim(left=min(0.0, board.low.min(), *(entry.scores.mean() for entry in found)) - 0.03)
    return figure


def _of_task(name: str, found: dict[str, Row]) -> list[Entry]:
    rows = {method: row for method, row in found.items() if row.has("error")}
    curves = [row.metric("error")[1] for row in rows.values()]
    last = [stats.late(errors) for errors in curves]
    means = np.array([errors.mean() for errors in last])
    chance = np.mean([stats.filled_errors(errors)[0].mean() for errors in curves])
    spread = chance - means.min()
    if not spread > 0:
        log.warning("left out: %s: no method ends below the error of chance, so it has no scale", name)
        return []
    return [
        Entry(
            method=method,
            task=name,
            scores=np.where(np.isfinite(curve).all(axis=0), (chance - errors) / spread, 0.0),
            rollouts=_rollouts(row.config),
            seconds=row.seconds_per_seed,
            look=row.style,
        )
        for (method, row), curve, errors in zip(rows.items(), curves, last, strict=True)
    ]


def _line(method: str, found: list[Entry]) -> dict[str, Any]:
    ours = [entry for entry in found if entry.method == method]
    scores = [entry.scores for entry in ours]
    low, high = aggregate.iqm_interval(scores)
    line = {"method": method, "tasks": len(ours), "seeds": sum(map(len, scores)), "iqm": float(aggregate.iqm(scores))}
    line |= {"low": low, "high": high}
    line |= {f"wins_{rival}": _wins(ours, rival, found) for rival in RIVALS}
    return line | {mean: np.mean([getattr(entry, mean) for entry in ours]) for mean in ("rollouts", "seconds")}


def _wins(ours: list[Entry], rival: str, found: list[Entry]) -> float:
    theirs = {entry.task: entry.scores for entry in found if entry.method == rival}
    common = [aggregate.improvement(e.scores, theirs[e.task]) for e in ours if e.task in theirs and e.method != rival]
    return float(np.mean(common)) if common else np.nan


def _rollouts(config: dict[str, Any]) -> float:
    """Candidates drawn; a method that compares none of a group draws one, but for a matched run or in words."""
    env, groups = config["env"], config["compares"] in ("group", "set")
    many = groups or config["match"] == "interactions" or "max_new_tokens" in env
    return config["train"]["steps"] * env.get("batch", 1) * (env.get("candidates", 1) if many else 1)


def _method(config: dict[str, Any]) -> str:
    """What `_key` leaves out, as JSON: method, sampling and epochs."""
    return json.dumps([identity(config)["algo"], config["sampler"], config["train"]["epochs"]], sort_keys=True)


def _key(config: dict[str, Any], match: str) -> str:
    """The settings that compared methods share under a matching, as JSON: all but method, sampling and epochs."""
    task = {section: identity(config)[section] for section in ("env", "model", "optim")}
    train = config["train"]
    task |= {key: train.get(key, NEUTRAL["train"][key]) for key in TRAIN}
    return json.dumps(task | {"steps": train["steps"], "match": match}, sort_keys=True)


def _names(labels: dict[str, str]) -> dict[str, str]:
    """Names of tasks {key: environment's label}: the label, and the settings in which tasks of one label differ."""
    flat = {task: _flat(json.loads(task)) for task in labels}
    names = {}
    for task in labels:
        alike = [flat[other] for other in labels if labels[other] == labels[task]]
        keys = [key for key in flat[task] if len({str(settings.get(key)) for settings in alike}) > 1]
        shown = ", ".join(f"{key.split('.')[-1]} {flat[task][key]}" for key in keys)
        names[task] = f"{labels[task]} ({shown})" if shown else labels[task]
    return names


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _texts(board: pd.DataFrame) -> pd.DataFrame:
    shown = pd.DataFrame({"method": board.method, "tasks": board.tasks, "seeds": board.seeds})
    shown["score, IQM [95 %]"] = [tables.with_interval(r.iqm, r.low, r.high, 3) for r in board.itertuples()]
    shown["mean rank"] = tables.numbers(board["rank"], "{:.1f}")
    for rival in RIVALS:
        shown[f"P(beats {rival})"] = tables.numbers(board[f"wins_{rival}"], "{:.2f}")
    shown["rollouts"] = tables.numbers(board.rollouts, "{:,.0f}")
    shown["seconds"] = tables.numbers(board.seconds, "{:.3g}")
    return shown.astype(str)


def _best(by: pd.DataFrame) -> pd.DataFrame:
    """A line per task, since all methods side by side are wider than a terminal."""
    shown = pd.DataFrame({"task": list(by), "methods": by.notna().sum().astype(str).tolist()})
    shown["best"] = [scores.idxmax() if scores.notna().any() else "-" for _, scores in by.items()]
    for rival in RIVALS:
        shown[rival] = tables.numbers(by.reindex([rival]).iloc[0], "{:.2f}")
    return shown


def _scores(by: pd.DataFrame) -> pd.DataFrame:
    return by.apply(lambda column: tables.numbers(column, "{:.2f}")).reset_index()
