"""Sentences on what a leaderboard shows, made from its numbers."""

import pandas as pd

from analysis.suites import Suite
from analysis.tables import with_interval

TPO, GRPO = "TPO", "GRPO"
MOST_NAMED = 3  # methods that tie in a family


def findings(lines: pd.DataFrame, suite: Suite) -> list[str]:
    """Sentences about a board of `leaderboard.board`; none where no method is complete."""
    complete = lines[lines.complete]
    tracks = {track: group.set_index("method") for track, group in complete.groupby("track")}
    leaders = [_leader(track, group) for track, group in tracks.items()]
    families = [text for track, group in tracks.items() for text in _families(track, group, suite)]
    return leaders + _against_grpo(complete) + families


def _leader(track: str, group: pd.DataFrame) -> str:
    best = group.iloc[0]
    leaders = group[(group.high >= best.low) | (group.index == best.name)]  # without intervals the best alone
    verb, end = ("lead", "; their intervals overlap.") if len(leaders) > 1 else ("leads", ".")
    names = _listed([f"{line.Index} with {_interval(line)}" for line in leaders.itertuples()])
    text = f"In the {track} track {names} {verb} the {len(group)} methods that have every task, by late score{end}"
    if TPO in group.index and TPO not in leaders.index:
        text += f" TPO is number {group.loc[TPO, 'rank']:.0f} with {_interval(group.loc[TPO])}."
    return text


def _listed(texts: list[str]) -> str:
    """a; a and b; a, b and c."""
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))


def _interval(line: pd.Series) -> str:
    return with_interval(line.late, line.low, line.high)


def _against_grpo(complete: pd.DataFrame) -> list[str]:
    """How often TPO beats GRPO, before tuning and after."""
    pairs = complete[complete.method == TPO].set_index("track")
    wins = pairs[f"wins_{GRPO}"].dropna()
    if wins.empty:
        return []
    texts = []
    for track in wins.index:
        low, high = (pairs.loc[track, f"wins_{GRPO}_{end}"] for end in ("low", "high"))
        texts.append(f"{with_interval(wins[track], low, high)} in the {track} track")
    return [f"A seed of TPO scores higher than one of GRPO on the same task with a probability of {', '.join(texts)}."]


def _families(track: str, group: pd.DataFrame, suite: Suite) -> list[str]:
    """Who leads in each family; scores that print alike are a tie."""
    if len(group) < 2:
        return []
    texts = []
    for name in suite.families:
        scores = group[f"family_{name}"].round(2)
        best = scores[scores == scores.max()].index.tolist()
        leaders = _listed(best) if len(best) <= MOST_NAMED else f"{len(best)} methods"
        texts.append(f"{name}: {leaders} ({scores.max():.2f})")
    ours = [f"{name} {group.loc[TPO, f'family_{name}']:.2f}" for name in suite.families] if TPO in group.index else []
    return [f"Best by family in the {track} track: {'; '.join(texts)}." + (f" TPO: {', '.join(ours)}." if ours else "")]
