"""A table of the held-out problems that language models solve before and after training."""

import numpy as np
import pandas as pd

from analysis import stats, tables
from analysis.curves import curve_data
from analysis.labels import with_unique_labels
from analysis.load import Row
from store.identity import NEUTRAL

SETTINGS = {  # columns, where runs differ in them
    "env.label": "task",
    "model.warm_accuracy": "warm start",
    "train.steps": "steps",
    "env.candidates": "K",
    "train.epochs": "epochs",
    "optim.lr": "rate",
}
SHARES = {  # metrics of the split that a run is evaluated on
    "accuracy": "pass@1",
    "pass_at_k": "pass@k",
    "greedy": "likeliest",
    "newly_solved": "new",
}
WITH_INTERVAL = ("accuracy", "pass_at_k")
SPREAD = f"[95 % interval] (lowest to highest of fewer than {stats.FEWEST} seeds)"
UNITS = f"shares in % {SPREAD}, entropy in nats per token"
MISSING = dict.fromkeys(("mean", "low", "high", "least", "most"), np.nan)


def summary(rows: list[Row]) -> pd.DataFrame:
    """One line per run of a language model: the settings in which runs differ, label, seeds, shares and entropy.

    Shares of the held-out problems at the last evaluation: the mean over seeds, NAME_low and NAME_high for its 95 %
    interval, NAME_least and NAME_most for single seeds, without a seed that turned non-finite. NaN: not recorded.

    before        share of right answers among sampled ones, before training
    accuracy      the same after training
    pass_at_k     problems that one of k sampled answers solves, for the largest k that was recorded
    k             that k; 1 where only one answer was sampled
    greedy        problems that the likeliest answer solves
    newly_solved  problems that a sampled answer solves, of those that none solved before training
    entropy       nats per token
    """
    rows = [row for row in rows if row.has(_metric(row, "accuracy"))]
    if not rows:
        return pd.DataFrame()
    settings = [{name: _setting(row, key) for key, name in SETTINGS.items()} for row in rows]
    shown = [name for name in SETTINGS.values() if len({str(line[name]) for line in settings}) > 1]
    settings = [{name: line[name] for name in shown} for line in settings]
    hidden = tuple(key for key, name in SETTINGS.items() if name in shown)
    rows = with_unique_labels(rows, hidden, [[str(line)] for line in settings])
    frame = pd.DataFrame([line | _measured(row) for line, row in zip(settings, rows, strict=True)])
    return frame.sort_values([*shown, "accuracy"], ascending=[True] * len(shown) + [False], ignore_index=True)


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """`summary` as text, in the UNITS."""
    settings = [name for name in SETTINGS.values() if name in frame]
    shown = frame[settings].map(_setting_text)
    shown = shown.assign(algorithm=frame.label, seeds=frame.seeds.astype(str))
    shown["before"] = tables.numbers(100 * frame.before, "{:.1f}")
    for metric, name in SHARES.items():
        shown[name] = tables.numbers(100 * frame[metric], "{:.1f}")
        if metric in WITH_INTERVAL:
            ends = 100 * frame[[f"{metric}_{end}" for end in ("low", "high", "least", "most")]].to_numpy()
            shown[name] += [_spread(*four) for four in ends]
    several = frame.k[frame.k > 1].unique()
    if len(several) == 1:
        shown = shown.rename(columns={"pass@k": f"pass@{several[0]}"})
    elif len(several):
        shown.insert(list(shown).index("pass@k"), "k", frame.k.astype(str))
    return shown.assign(entropy=tables.numbers(frame.entropy, "{:.2f}"))


def _spread(low: float, high: float, least: float, most: float) -> str:
    """The interval of a mean where it has one, else the lowest and the highest seed if they differ."""
    if not np.isnan(low):
        return f" [{low:.1f}, {high:.1f}]"
    return f" ({least:.1f} to {most:.1f})" if least < most else ""


def _metric(row: Row, name: str) -> str:
    """The metric of a run that is called `name` on the split that it is evaluated on."""
    return f"{row.config['train'].get('eval_split', NEUTRAL['train']['eval_split'])}_{name}"


def _setting(row: Row, key: str) -> object:
    section, name = key.split(".")
    return row.config[section].get(name)


def _setting_text(value: object) -> str:
    if pd.isna(value):
        return "default"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _measured(row: Row) -> dict:
    accuracy, entropy, several = (_metric(row, name) for name in ("accuracy", "entropy", "pass_at_"))
    k = max((int(name.removeprefix(several)) for name in row.metrics if name.startswith(several)), default=1)
    first = row.finite(accuracy)[1][0]
    found = {"label": row.label, "seeds": len(first), "before": first.mean() if len(first) else np.nan, "k": k}
    for share in SHARES:
        metric = f"{several}{k}" if share == "pass_at_k" else _metric(row, share)
        is_known = row.has(metric) and metric != f"{several}1"
        last = _last(row, metric) if is_known else MISSING
        found |= {share if name == "mean" else f"{share}_{name}": value for name, value in last.items()}
    return found | {"entropy": curve_data(row, entropy)["mean"].iloc[-1] if row.has(entropy) else np.nan}


def _last(row: Row, metric: str) -> dict[str, float]:
    """Of a share at the last evaluation: mean, interval, and the lowest and the highest seed."""
    last, seeds = curve_data(row, metric).iloc[-1], row.finite(metric)[1][-1]
    least, most = (seeds.min(), seeds.max()) if len(seeds) else (np.nan, np.nan)
    return {name: last[name] for name in ("mean", "low", "high")} | {"least": least, "most": most}
