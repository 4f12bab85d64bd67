"""python -m reference.replay [DIR]: the author's inputs through this project's code, against the author's outputs."""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from rich.console import Console

from conf.entry import run_main
from reference import Check, replay_bandits, replay_losses, replay_sequences

GOLDEN = Path(__file__).with_name("golden")
FILES: dict[str, Callable[[dict], Iterator[Check]]] = {
    "losses.npz": replay_losses.replay,
    "bandit_single_context.npz": replay_bandits.replay_single_context,
    "bandit_multi_context.npz": replay_bandits.replay_multi_context,
    "transformer.npz": replay_sequences.replay_transformer,
    "muon.npz": replay_sequences.replay_muon,
    "updates.npz": replay_sequences.replay_updates,
}


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest absolute difference; infinite where shapes differ or anything is not finite."""
    ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    if ours.shape != theirs.shape or not np.isfinite(ours).all():
        return float("inf")
    return float(np.abs(ours - theirs).max(initial=0.0))


def replay(folder: Path, console: Console) -> int:
    """Print a line per quantity and a count; return the number of quantities over their tolerance."""
    ok = over = 0
    for path in sorted(folder.glob("*.npz")):
        if path.name not in FILES:
            console.print(f"{path.name}: not known to this version, left out")
            continue
        try:
            with np.load(path) as archive:
                data = dict(archive)
            for name, ours, theirs, tolerance in FILES[path.name](data):
                gap = difference(ours, theirs)
                ok, over = (ok + 1, over) if gap <= tolerance else (ok, over + 1)
                verdict = "ok" if gap <= tolerance else "OVER"
                console.print(f"{path.stem + '/' + name:<44} max|diff| {gap:.1e}  tolerance {tolerance:.0e}  {verdict}")
        except (KeyError, ValueError, OSError, BadZipFile) as error:
            over += 1
            console.print(f"{path.name}: cannot be replayed ({type(error).__name__}: {error})")
    console.print(f"{ok} ok, {over} over")
    return over


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m reference.replay", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=GOLDEN, help="folder of .npz files (default: golden)")
    folder = parser.parse_args(argv).folder
    if not any(folder.glob("*.npz")):
        print(f"{folder}: holds no .npz files", file=sys.stderr)
        return 2
    return 1 if replay(folder, Console(width=120, highlight=False)) else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
