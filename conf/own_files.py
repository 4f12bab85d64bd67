"""The yaml files of a folder of the user's own, as Hydra finds them."""

import logging
import os
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from conf.messages import ConfigError, yaml_fault

CONF = Path(__file__).resolve().parent
# where in the config the files of each group belong; None: in the part of the group's name
PACKAGES = {"algo": None, "env": "_global_", "model": None}
unreadable_files: dict[Path, str] = {}  # {file that holds no settings: where and why}
log = logging.getLogger(__name__)
PATHS = tuple(f"{group}_path" for group in PACKAGES)


def register(argv: list[str]) -> None:
    """Let Hydra find the yaml files of the folders that algo_path=, env_path= and model_path= name."""
    for group, package in PACKAGES.items():
        ConfigStore.instance().repo[group] = {}
        texts = [arg for arg in argv if arg.startswith(f"{group}_path=")]
        folder = OverridesParser.create().parse_override(texts[-1]).value() if texts else None
        if folder is None:
            continue
        found = own_files(group, folder)
        for path, reason in unreadable_files.items():
            if f"{group}={path.stem}" in argv and path.parent == checked_folder(group, folder):
                raise ConfigError(f"{group}={path.stem}: {path}: {reason}")
        for name, node in found.items():
            if (CONF / group / f"{name}.yaml").exists():
                raise ConfigError(f"{group}_path={folder}: the suite has a {name}.yaml of its own; rename yours")
            key = "env.name" if group == "env" else "name"
            if group != "model" and OmegaConf.select(node, key) not in (None, name):
                must = f"must be {name}, as the file is called"  # runs and boards are found by this name
                raise ConfigError(f"{group}_path={folder}: {name}.yaml: {key}={OmegaConf.select(node, key)}: {must}")
            ConfigStore.instance().store(name, node, group, package=package, provider=f"{group}_path")


def own_files(group: str, folder: object) -> dict[str, DictConfig]:
    """{name: content} of the yaml files in a folder that belong to a group; one folder may hold those of several."""
    nodes = {path.stem: _read(path) for path in sorted(checked_folder(group, folder).glob("*.yaml"))}
    return {name: node for name, node in nodes.items() if node is not None and _group_of(node) == group}


def _group_of(node: DictConfig) -> str:
    """A task's file has a section `env`, a method's file names an objective or its look, and a model's does neither."""
    if "env" in node:
        return "env"
    return "algo" if node.keys() & {"objective", "label", "color", "linestyle"} else "model"


def _read(path: Path) -> DictConfig | None:
    """The content of a file; None, and a warning when it is first met, where it holds no settings."""
    try:
        node, reason = OmegaConf.load(path), "must hold settings, one `key: value` a line"
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        node, reason = None, yaml_fault(error)
    if isinstance(node, DictConfig) and node and isinstance(node.get("env", node), DictConfig):
        unreadable_files.pop(path, None)
        return node
    if path not in unreadable_files:
        log.warning("left out: %s: %s", path, reason)
    unreadable_files[path] = reason
    return None


def checked_folder(group: str, folder: object) -> Path:
    path = Path(os.path.expanduser(str(folder)))
    if not path.is_dir() or not str(folder):
        raise ConfigError(f"{group}_path={folder}: no such folder; name one that holds NAME.py and NAME.yaml")
    return path.resolve()
