"""A table of the held-out problems that language models solve before and after training."""

import numpy as np
import pandas as pd

from analysis import tables
from analysis.curves import curve_data
from analysis.labels import with_unique_labels
from analysis.load import Row

SETTINGS = {  # columns, where runs differ in them
    "env.label": "task",
    "model.warm_accuracy": "warm start",
    "train.steps": "steps",
    "env.candidates": "K",
    "train.epochs": "epochs",
    "optim.lr": "rate",
}
SHARES = {
    "test_accuracy": "pass@1",
    "test_pass_at_16": "pass@16",
    "test_greedy": "likeliest",
    "test_newly_solved": "new",
}
WITH_INTERVAL = ("test_accuracy", "test_pass_at_16")
UNITS = "shares in % with 95 % interval, entropy in nats per token"
ENTROPY = "test_entropy"
MISSING = dict.fromkeys(("mean", "low", "high"), np.nan)


def summary(rows: list[Row]) -> pd.DataFrame:
    """One line per run of a language model: the settings in which runs differ, label, seeds, shares and entropy.

    Shares of the held-out problems at the last evaluation: the mean over seeds, and NAME_low and NAME_high for its
    95 % interval, without a seed that turned non-finite. NaN: not recorded.

    before             share of right answers among sampled ones, before training
    test_accuracy      the same after training
    test_pass_at_16    problems that one of sixteen sampled answers solves
    test_greedy        problems that the likeliest answer solves
    test_newly_solved  problems that a sampled answer solves, of those that none solved before training
    test_entropy       nats per token
    """
    rows = [row for row in rows if row.has("test_accuracy")]
    if not rows:
        return pd.DataFrame()
    settings = [{name: _setting(row, key) for key, name in SETTINGS.items()} for row in rows]
    shown = [name for name in SETTINGS.values() if len({str(line[name]) for line in settings}) > 1]
    settings = [{name: line[name] for name in shown} for line in settings]
    hidden = tuple(key for key, name in SETTINGS.items() if name in shown)
    rows = with_unique_labels(rows, hidden, [[str(line)] for line in settings])
    frame = pd.DataFrame([line | _measured(row) for line, row in zip(settings, rows, strict=True)])
    return frame.sort_values([*shown, "test_accuracy"], ascending=[True] * len(shown) + [False], ignore_index=True)


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """`summary` as text, in the UNITS."""
    settings = [name for name in SETTINGS.values() if name in frame]
    shown = frame[settings].map(_setting_text)
    shown = shown.assign(algorithm=frame.label, seeds=frame.seeds.astype(str))
    shown["before"] = tables.numbers(100 * frame.before, "{:.1f}")
    for metric, name in SHARES.items():
        shown[name] = tables.numbers(100 * frame[metric], "{:.1f}")
        if metric in WITH_INTERVAL:
            ends = (100 * frame[[f"{metric}_low", f"{metric}_high"]]).to_numpy()
            shown[name] += ["" if np.isnan(low) else f" [{low:.1f}, {high:.1f}]" for low, high in ends]
    return shown.assign(entropy=tables.numbers(frame[ENTROPY], "{:.2f}"))


def _setting(row: Row, key: str) -> object:
    section, name = key.split(".")
    return row.config[section].get(name)


def _setting_text(value: object) -> str:
    if pd.isna(value):
        return "default"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _measured(row: Row) -> dict:
    seeds = row.finite("test_accuracy")[1].shape[-1]
    found = {"label": row.label, "seeds": seeds, "before": row.metric("test_accuracy")[1][0].mean()}
    for metric in SHARES:
        last = curve_data(row, metric, is_share=True).iloc[-1] if row.has(metric) else MISSING
        found |= {metric: last["mean"], f"{metric}_low": last["low"], f"{metric}_high": last["high"]}
    return found | {ENTROPY: curve_data(row, ENTROPY)["mean"].iloc[-1] if row.has(ENTROPY) else np.nan}
