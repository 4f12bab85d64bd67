"""Where code failed, in words for the person who wrote it."""

import sysconfig
import traceback
from pathlib import Path

SUITE = Path(__file__).resolve().parent.parent
INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class ContractError(Exception):
    """A class returned a value that it must not return; the message names its file and what must be returned."""


def describe(error: BaseException) -> str:
    """Kind and message of an error, and the file and line where it happened."""
    if isinstance(error, ContractError):
        return str(error)
    text = f"{type(error).__name__}: {error}"
    place = locate(error.__cause__ or error)
    return f"{text} ({place})" if place else text


def locate(error: BaseException) -> str | None:
    """File and line of the innermost call in code outside the suite and its packages, or else in the suite itself."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(("<", *INSTALLED))]
    own = [frame for frame in frames if not Path(frame.filename).is_relative_to(SUITE)]
    if not frames:
        return None
    frame = (own or frames)[-1]
    return f"{frame.filename}, line {frame.lineno}"


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
