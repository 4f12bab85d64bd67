"""Which classes there are: those of our packages, and those of a folder of the user's own."""

import dataclasses
import functools
import importlib
import importlib.util
import logging
import pkgutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from conf.messages import ConfigError

log = logging.getLogger(__name__)
OURS = Path(__file__).resolve().parent / "algo"
left_out: dict[str, str] = {}  # {file that cannot be imported: where and why}


@functools.cache
def discover(package: ModuleType) -> dict[str, type]:
    """{name: class} of the named dataclasses in all modules of a package, save those that cannot be imported."""
    found: dict[str, type] = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        path = Path(info.module_finder.path) / f"{info.name.rpartition('.')[2]}.py"
        found |= {cls.name: cls for cls in _tried(path, functools.partial(importlib.import_module, info.name))}
    return found


@functools.cache
def outside(folder: str) -> dict[str, type]:
    """The same for the files of any folder; raises ConfigError if two classes share a name."""
    found: dict[str, type] = {}
    for path in sorted(_folder(folder).glob("*.py")):
        for cls in _tried(path, functools.partial(_load, path)):
            if cls.name in found:
                files = " and ".join(Path(sys.modules[c.__module__].__file__).name for c in (found[cls.name], cls))
                raise ConfigError(f"algo_path={folder}: two classes are called {cls.name}, in {files}; rename one")
            found[cls.name] = cls
    return found


def together(package: ModuleType, folder: str | None) -> dict[str, type]:
    """The classes of a package and of the user's folder; raises ConfigError if both have one of a name."""
    ours, theirs = discover(package), {} if folder is None else outside(folder)
    for name in ours.keys() & theirs.keys():
        file = sys.modules[theirs[name].__module__].__file__
        raise ConfigError(f"algo_path={folder}: {Path(file).name} calls a class {name}, as the suite does; rename it")
    return ours | theirs


def register(argv: list[str]) -> None:
    """Let Hydra find the yaml files of the folder that algo_path=FOLDER names, as files of the group algo."""
    group = ConfigStore.instance().repo.setdefault("algo", {})
    group.clear()
    texts = [arg for arg in argv if arg.startswith("algo_path=")]
    folder = OverridesParser.create().parse_override(texts[-1]).value() if texts else None
    for path in [] if folder is None else sorted(_folder(folder).glob("*.yaml")):
        if (OURS / path.name).exists():
            raise ConfigError(f"algo_path={folder}: the suite has a {path.name} of its own; rename it")
        try:
            node = OmegaConf.load(path)
        except (YAMLError, OmegaConfBaseException) as error:
            raise ConfigError(f"{path}: cannot be read as yaml: {' '.join(str(error).split())}") from None
        ConfigStore.instance().store(name=path.stem, node=node, group="algo", provider="algo_path")


def _folder(folder: object) -> Path:
    path = Path(str(folder)).expanduser()
    if not path.is_dir() or not str(folder):
        raise ConfigError(f"algo_path={folder}: no such folder; name one that holds NAME.py and NAME.yaml")
    return path


def _tried(path: Path, load: Callable[[], ModuleType]) -> list[type]:
    """The named dataclasses of a file; none, and a warning, if it cannot be imported."""
    try:
        module = load()
    except Exception as error:  # whatever the code of a file raises
        left_out[path.stem] = f"{path}, line {_line(path, error)}: {type(error).__name__}: {_first_line(error)}"
        log.warning("left out: %s", left_out[path.stem])
        return []
    found = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    return [c for c in found if dataclasses.is_dataclass(c) and isinstance(getattr(c, "name", None), str)]


def _load(path: Path) -> ModuleType:
    name = f"algo_path_{abs(hash(path.resolve()))}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _line(path: Path, error: Exception) -> int | str:
    """Where in the file at `path` an error comes from."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else "?"


def _first_line(error: Exception) -> str:
    return (str(error) or "no message").splitlines()[0]
