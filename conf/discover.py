"""Which classes and yaml files there are: those of the suite, and those of folders of the user's own."""

import functools
import importlib
import logging
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
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
from envs.rlvr.own import forget_modules, import_file, new_package, own_modules
from models.base import ModelConfig

log = logging.getLogger(__name__)
import_failures: dict[Path, str] = {}  # {file that cannot be imported: where and why}


class Group(NamedTuple):
    """A config group that a folder of the user's own may extend: `<group>_path=FOLDER`."""

    package: ModuleType  # where the suite's own classes are
    base: type  # what every class of the group derives from


class Reading(NamedTuple):
    """What a folder of the user's own held when it was read last.

    versions  {file: time of its last change, and size} of all files that a change of the classes could come from
    """

    classes: list[type]
    versions: dict[Path, tuple[int, int]]


class Neighbours(NamedTuple):
    """A folder whose files may import each other by name.

    known     modules that were there before it
    is_added  whether it was added to sys.path
    """

    folder: str
    known: frozenset[str]
    is_added: bool


GROUPS = {"algo": Group(algorithms, Objective), "env": Group(envs, Env), "model": Group(models, ModelConfig)}
BASES = tuple(group.base for group in GROUPS.values())
readings: dict[Path, Reading] = {}
neighbours: list[Neighbours] = []  # those of the folder that was asked for last


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


def why_left_out(name: str) -> str:
    """Why files of a name could not be imported, or else why others could not; empty if all could."""
    return "; ".join([why for path, why in import_failures.items() if path.stem == name] or import_failures.values())


def _classes_in(folder: Path) -> list[type]:
    """The named dataclasses of the files of a folder, read again when one changes, as while a notebook is open."""
    known = readings.get(folder)
    is_current = known is not None and known.versions == _versions(folder, known.versions)
    if not is_current or neighbours[-1].folder != str(folder):
        _let_import_each_other(str(folder))
    if not is_current:
        readings[folder] = _read(folder)
    return readings[folder].classes


def _read(folder: Path) -> Reading:
    package, writes, paths = new_package(str(folder)), sys.dont_write_bytecode, sorted(folder.glob("*.py"))
    for path in [path for path in import_failures if path.parent == folder]:
        del import_failures[path]
    importlib.invalidate_caches()
    sys.dont_write_bytecode = True  # nothing is left in the user's folder, where a later edit might not be noticed
    try:
        loads = {path: functools.partial(import_file, str(path), package) for path in paths}
        classes = [cls for path, load in loads.items() for cls in _named_classes(path, load)]
    finally:
        sys.dont_write_bytecode = writes
    imported = map(Path, own_modules(str(folder), neighbours[-1].known).values())
    return Reading(classes, _versions(folder, imported))


def _versions(folder: Path, others: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """The versions of the files of a folder and of others. What a broken file lacks may appear anywhere below it."""
    is_broken = any(path.parent == folder for path in import_failures)
    files = {*folder.glob("*.py"), *others, *(_files_below(folder) if is_broken else ())}
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files if path.exists()}


def _files_below(folder: Path) -> Iterator[Path]:
    """The Python files of a folder and of folders in it, without hidden ones and environments."""
    for inside, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".") and not Path(inside, f, "pyvenv.cfg").exists()]
        yield from (Path(inside, file) for file in files if file.endswith(".py"))


def _let_import_each_other(folder: str) -> None:
    """Let the files of a folder import each other by name, as they are now; they hide no module of another place."""
    while neighbours:  # the files of the folder that was asked for before may do so no longer
        before = neighbours.pop()
        forget_modules(before.folder, before.known)
        if before.is_added:
            sys.path.remove(before.folder)
    neighbours.append(Neighbours(folder, frozenset(sys.modules), folder not in sys.path))
    if neighbours[-1].is_added:
        sys.path.append(folder)


def _file_of(cls: type) -> Path:
    return Path(sys.modules[cls.__module__].__file__)


def _named_classes(path: Path, load: Callable[[], ModuleType]) -> list[type]:
    """The named dataclasses of a file; none, and a warning, if it cannot be imported."""
    try:
        module = load()
    except (Exception, SystemExit) as error:  # whatever the code of a file raises
        said = (str(error) or "no message").splitlines()[0]
        import_failures[path] = f"{path}, line {_line(path, error)}: {type(error).__name__}: {said}"
        log.warning("left out: %s", import_failures[path])
        return []
    found = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    found = [c for c in found if isinstance(getattr(c, "name", None), str)]
    for cls in found:
        if issubclass(cls, BASES) and not _is_frozen(cls):
            import_failures[path] = f"{path}: class {cls.__name__} must have @dataclass(frozen=True) above it"
            log.warning("left out: %s", import_failures[path])
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
