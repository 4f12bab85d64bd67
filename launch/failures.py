"""A sweep whose first jobs all fail in the same place has one fault, which more jobs will not mend.

The processes of a sweep, which may be on several machines, tell one another how their jobs ended in a file that its
launch names in an environment variable.
"""

import os
from pathlib import Path

from training.experiment import Outcome

VARIABLE = "TPO_SUITE_ENDED_JOBS"
FIRST = 3  # jobs


def watch(folder: Path) -> None:
    """Begin a sweep: forget what earlier ones wrote, and let the processes started from here know where to write."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / f"ended-{os.getpid()}.txt"
    path.unlink(missing_ok=True)
    os.environ[VARIABLE] = str(path)


def ignore() -> None:
    """End the watch of a sweep."""
    path = os.environ.pop(VARIABLE, None)
    if path is not None:
        Path(path).unlink(missing_ok=True)


def record(outcome: Outcome) -> None:
    """Add how a job ended."""
    if VARIABLE in os.environ and outcome.status != "busy":
        with Path(os.environ[VARIABLE]).open("a") as file:
            file.write(f"{outcome.place if outcome.status == 'failed' else None}\n")


def common_place() -> str | None:
    """Where the first jobs of the sweep failed, if all of them did so in one place."""
    path = Path(os.environ.get(VARIABLE, ""))
    ended = path.read_text().splitlines()[:FIRST] if path.is_file() else []
    return ended[0] if len(ended) == FIRST and len(set(ended)) == 1 and ended[0] != "None" else None
