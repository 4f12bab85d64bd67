"""Which classes and yaml files there are: those of the suite, and those of folders of the user's own."""

import functools
import importlib
import logging
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import algorithms
import envs
import models
from algorithms.base import Objective
from conf.messages import ConfigError
from conf.own_files import checked_folder
from envs.base import Env
from envs.rlvr.own import PACKAGE, import_file, new_package, own_modules
from models.base import ModelConfig

log = logging.getLogger(__name__)
imported_neighbours: set[str] = set()  # modules that files of the user's have imported from their folder
appended: list[str] = []  # this folder, while it is in sys.path
readings: dict[Path, "Reading"] = {}  # {folder of the user's: what it held when it was read last}
import_failures: dict[str, str] = {}  # {file that cannot be imported: where and why}
files_of_failures: set[Path] = set()  # files that such an import had reached


class Group(NamedTuple):
    """A config group that a folder of the user's own may extend: `<group>_path=FOLDER`."""

    package: ModuleType  # where the suite's own classes are
    base: type  # what every class of the group derives from


class Reading(NamedTuple):
    """The named dataclasses of a folder, and the versions of its files and of what they import from folders in it."""

    classes: list[type]
    versions: dict[Path, tuple[int, int]]


GROUPS = {"algo": Group(algorithms, Objective), "env": Group(envs, Env), "model": Group(models, ModelConfig)}
BASES = tuple(group.base for group in GROUPS.values())


@functools.cache
def discover(package: ModuleType) -> dict[str, type]:
    """{name: class} of the named dataclasses in all modules of a package, save those that cannot be imported."""
    found: dict[str, type] = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        path = Path(info.module_finder.path) / f"{info.name.rpartition('.')[2]}.py"
        load = functools.partial(importlib.import_module, info.name)
        found |= {cls.name: cls for cls in _named_classes(path, load)}
    return found


def find_classes(group: str, folder: str | None = None) -> dict[str, type]:
    """{name: class} of a group, in the suite and in the user's folder; raises ConfigError where two share a name."""
    found = dict(discover(GROUPS[group].package))
    for cls in () if folder is None else _classes_in(checked_folder(group, folder)):
        if not issubclass(cls, GROUPS[group].base):
            continue
        file = _file_of(cls)
        if cls.name in found:
            other = _file_of(found[cls.name])
            if other.parent == file.parent:
                files = f"{other.name} and {file.name}"
                raise ConfigError(f"{group}_path={folder}: two classes have name {cls.name!r}, in {files}; rename one")
            clash = f"{file.name} has a class with name {cls.name!r}, as the suite does"
            raise ConfigError(f"{group}_path={folder}: {clash}; rename yours")
        found[cls.name] = cls
    return found


def _classes_in(folder: Path) -> list[type]:
    """The named dataclasses of the files of a folder, read again when one changes, as while a notebook is open."""
    paths, known = sorted(folder.glob("*.py")), readings.get(folder)
    if known is None or known.versions != _versions({*paths, *known.versions}):
        package = new_package(str(folder))
        with _neighbours(str(folder)) as imported:
            loads = {path: functools.partial(import_file, str(path), package) for path in paths}
            found = [cls for path, load in loads.items() for cls in _named_classes(path, load)]
        below = {path for path in (*imported, *files_of_failures) if folder in path.parent.parents}
        packages = {path.parent for path in below}  # changes where a file is added
        readings[folder] = Reading(found, _versions({*paths, *below, *packages}))
    return readings[folder].classes


def _versions(paths: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """{file or folder: time of its last change, and size} of those that are there."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in paths if path.exists()}


@contextmanager
def _neighbours(folder: str) -> Iterator[list[Path]]:
    """Let files import others of their folder, as these are now; they hide no module of another place.

    The list holds the files of these modules at the end.
    """
    while imported_neighbours:
        sys.modules.pop(imported_neighbours.pop(), None)
    while appended:  # not from a folder that was read before
        sys.path.remove(appended.pop())
    if folder not in sys.path:
        appended.append(folder)
        sys.path.append(folder)
    known, writes, files = set(sys.modules), sys.dont_write_bytecode, []
    sys.dont_write_bytecode = True  # nothing is left in the user's folder, where a later edit might not be noticed
    try:
        yield files
    finally:
        sys.dont_write_bytecode = writes
    found = own_modules(folder, known)
    files += map(Path, found.values())
    imported_neighbours.update(name for name in found if not name.startswith(PACKAGE))


def _file_of(cls: type) -> Path:
    return Path(sys.modules[cls.__module__].__file__)


def _named_classes(path: Path, load: Callable[[], ModuleType]) -> list[type]:
    """The named dataclasses of a file; none, and a warning, if it cannot be imported."""
    import_failures.pop(path.stem, None)
    try:
        module = load()
    except (Exception, SystemExit) as error:  # whatever the code of a file raises
        said = (str(error) or "no message").splitlines()[0]
        import_failures[path.stem] = f"{path}, line {_line(path, error)}: {type(error).__name__}: {said}"
        files_of_failures.update(Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__))
        files_of_failures.update([Path(error.filename)] if isinstance(error, SyntaxError) and error.filename else [])
        log.warning("left out: %s", import_failures[path.stem])
        return []
    found = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    found = [c for c in found if isinstance(getattr(c, "name", None), str)]
    for cls in found:
        if issubclass(cls, BASES) and not _is_frozen(cls):
            import_failures[path.stem] = f"{path}: class {cls.__name__} must have @dataclass(frozen=True) above it"
            log.warning("left out: %s", import_failures[path.stem])
    return [c for c in found if _is_frozen(c)]


def _is_frozen(cls: type) -> bool:
    """Whether the class itself is a frozen dataclass."""
    return "__dataclass_params__" in vars(cls) and cls.__dataclass_params__.frozen


def _line(path: Path, error: BaseException) -> int | str:
    """Where in the file at `path` an error comes from."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else "?"
