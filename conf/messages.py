"""Messages about what a user typed: key, value, what is allowed, and the nearest."""

import difflib
import re
import shlex
from collections.abc import Iterable

from hydra import compose, initialize_config_module
from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import InterpolationKeyError

GRID = ("-m", "--multirun")
FILES = ("debug", "paper", "studies")  # groups whose file changes the other sections, and is none itself
PLUGINS = {"joblib": "joblib", "submitit_slurm": "slurm", "submitit_local": "slurm_local"}  # launcher: launch=


class ConfigError(Exception):
    """The user asked for something impossible; the message names key, value and what is allowed."""


def unknown(key: str, allowed: Iterable[str], what: str = "unknown key") -> str:
    """One line that names what is allowed and suggests the nearest."""
    allowed = list(allowed)
    typed = re.split(r"[.= /]", key)[-1]
    near = difflib.get_close_matches(typed, allowed, n=1)
    return f"{key}: {what}{f' (did you mean {near[0]}?)' if near else ''}; allowed: {', '.join(allowed) or 'nothing'}"


def duration(seconds: float) -> str:
    """Seconds for a reader: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def command(overrides: Iterable[str]) -> str:
    """The command that takes these overrides, as a shell reads it."""
    return shlex.join(["python", "run.py", *overrides])


def explain(error: Exception, argv: list[str]) -> str:
    """Hydra's complaint about a command line, as one line in our terms."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        if group == "hydra/launcher" and name in PLUGINS:
            return f'launch={PLUGINS[name]} needs a plug-in of Hydra: pip install -c constraints.txt -e ".[launch]"'
        own = f"; or {group}_path=FOLDER with a {name}.yaml of your own" * (group in ("algo", "env", "model"))
        return unknown(f"{group}={name}", error.options or [], "not found") + own
    match = re.search(r"Could not override '([^']+)'", str(error))
    if isinstance(error, ConfigCompositionException) and match:
        return _unknown_key(match[1], argv)
    scale = re.search(r"'scales\.(\w+)", str(error))
    if isinstance(error, InterpolationKeyError) and scale:
        return unknown(f"scale={scale[1]}", ("paper", "quick"), "unknown choice")
    ambiguous = re.search(r"Ambiguous value for argument '([^']+)'", str(error))
    if ambiguous:
        return f"{ambiguous[1]}: several values are a grid, which needs -m: {command(['-m', *argv])}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read ({str(error).splitlines()[0]}); write key=value"
    return str(error)


def _unknown_key(key: str, argv: list[str]) -> str:
    parent, _, leaf = key.rpartition(".")
    allowed = _siblings(key, argv)
    if parent and not allowed:
        return unknown(parent, _siblings(parent, argv))
    if leaf in allowed:
        return f"{key}: not all of the chosen files have it; leave out those that do not"
    return unknown(key, allowed)


def _siblings(key: str, argv: list[str]) -> list[str]:
    """The keys beside `key` in the config that the groups chosen in `argv` compose."""
    groups = [arg for arg in argv if re.fullmatch(r"(algo|env|model|optim|tracker|launch|paper|studies)=[\w,]+", arg)]
    groups = [group.partition(",")[0] for group in groups]
    with initialize_config_module("conf", version_base="1.3"):
        node = compose("config", groups)
    for part in key.split(".")[:-1]:
        node = node.get(part) if isinstance(node, DictConfig) else None
    return [str(k) for k in node if k not in FILES] if isinstance(node, DictConfig) else []
