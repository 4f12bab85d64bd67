"""Where more seeds are needed to say which method is better."""

from itertools import combinations

import numpy as np
import pandas as pd

from analysis.paper import TABLES


def undecided_cells(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The lines of `compare` whose 95 % interval overlaps that of another method, all other keys being the same.

    Where a group of cells has none, the order of its methods is decided. Cells that were not run are left out; one of
    too few seeds has no interval, so it overlaps. Two cells for which the paper would print "-" are equal: more seeds
    change nothing.
    """
    table, run = TABLES[name], frame[frame.n > 0]
    found: set[int] = set()
    for group in table.groups(run, ("algo",)):
        for one, other in combinations(group.index, 2):
            if _overlap(run.loc[one], run.loc[other], table.measure(run.loc[one]).hopeless):
                found |= {one, other}
    return run.loc[sorted(found)]


def _overlap(one: pd.Series, other: pd.Series, hopeless: float) -> bool:
    if np.isnan([one.low, other.low]).any():
        return True
    low = min(one.low, other.low)
    if low > hopeless or np.isinf(low):
        return False
    return not (one.high < other.low or other.high < one.low)
