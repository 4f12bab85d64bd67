"""Sentences on what a leaderboard shows, made from its numbers."""

import numpy as np
import pandas as pd

from analysis.suites import Suite

TPO, GRPO = "TPO", "GRPO"


def findings(lines: pd.DataFrame, suite: Suite) -> list[str]:
    """Sentences about a board of `leaderboard.board`; none where no method is complete."""
    found = []
    complete = lines[lines.complete]
    for track, group in complete.groupby("track"):
        found.append(_leader(track, group.set_index("method")))
    found += _against_grpo(complete)
    for track, group in complete.groupby("track"):
        found += _families(track, group.set_index("method"), suite)
    return found


def _leader(track: str, group: pd.DataFrame) -> str:
    best = group.iloc[0]
    text = (
        f"In the {track} track {group.index[0]} leads the {len(group)} methods that have every task, with a late score "
    )
    text += f"of {_interval(best)}."
    if TPO in group.index and group.index[0] != TPO:
        text += f" TPO is number {group.loc[TPO, 'rank']:.0f} with {_interval(group.loc[TPO])}."
    return text


def _interval(line: pd.Series) -> str:
    return f"{line.late:.2f}" + ("" if np.isnan(line.low) else f" [{line.low:.2f}, {line.high:.2f}]")


def _against_grpo(complete: pd.DataFrame) -> list[str]:
    """How often TPO beats GRPO, before tuning and after."""
    pairs = complete[complete.method == TPO].set_index("track")
    wins = pairs[f"wins_{GRPO}"].dropna()
    if wins.empty:
        return []
    texts = []
    for track in wins.index:
        low, high = (pairs.loc[track, f"wins_{GRPO}_{end}"] for end in ("low", "high"))
        interval = "" if np.isnan(low) else f" [{low:.2f}, {high:.2f}]"
        texts.append(f"{wins[track]:.2f}{interval} in the {track} track")
    return [f"A seed of TPO scores higher than one of GRPO on the same task with a probability of {', '.join(texts)}."]


def _families(track: str, group: pd.DataFrame, suite: Suite) -> list[str]:
    """Who leads in each family."""
    if len(group) < 2:
        return []
    leaders = {name: group[f"family_{name}"].idxmax() for name in suite.families}
    texts = [f"{name}: {leader} ({group.loc[leader, f'family_{name}']:.2f})" for name, leader in leaders.items()]
    ours = [f"{name} {group.loc[TPO, f'family_{name}']:.2f}" for name in suite.families] if TPO in group.index else []
    return [f"Best by family in the {track} track: {'; '.join(texts)}." + (f" TPO: {', '.join(ours)}." if ours else "")]
