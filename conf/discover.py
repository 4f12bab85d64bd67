"""Which classes and yaml files there are: those of the suite, and those of folders of the user's own."""

import functools
import importlib
import importlib.util
import logging
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator
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
from envs.rlvr.own import own_modules
from models.base import ModelConfig

log = logging.getLogger(__name__)
OWN = "own_"  # the beginning of what a file of the user's is called as a module
imported_neighbours: set[str] = set()  # modules that files of the user's have imported from their folder
appended: list[str] = []  # this folder, while it is in sys.path
import_failures: dict[str, str] = {}  # {file that cannot be imported: where and why}


class Group(NamedTuple):
    """A config group that a folder of the user's own may extend: `<group>_path=FOLDER`."""

    package: ModuleType  # where the suite's own classes are
    base: type  # what every class of the group derives from


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
    """The named dataclasses of the files of a folder."""
    paths = sorted(folder.glob("*.py"))
    return _classes_of(str(folder), tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths))


@functools.lru_cache(maxsize=64)
def _classes_of(folder: str, files: tuple[tuple[Path, int, int], ...]) -> list[type]:
    """The named dataclasses of files, which are read again when a file changes, as while a notebook is open."""
    with _neighbours(folder):
        return [c for path, *_ in files for c in _named_classes(path, functools.partial(_load, path))]


@contextmanager
def _neighbours(folder: str) -> Iterator[None]:
    """Let files import others of their folder, as these are now; they hide no module of another place."""
    while imported_neighbours:
        sys.modules.pop(imported_neighbours.pop(), None)
    while appended:  # not from a folder that was read before
        sys.path.remove(appended.pop())
    if folder not in sys.path:
        appended.append(folder)
        sys.path.append(folder)
    known = set(sys.modules)
    yield
    imported_neighbours.update(name for name in own_modules(folder, known) if not name.startswith(OWN))


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


def _load(path: Path) -> ModuleType:
    name = f"{OWN}{abs(hash(path))}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _line(path: Path, error: BaseException) -> int | str:
    """Where in the file at `path` an error comes from."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else "?"
