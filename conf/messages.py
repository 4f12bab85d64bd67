"""Messages about what a user typed: key, value, what is allowed, and the nearest."""

import difflib
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from conf.compose import composed

RUNS = Path("runs")  # where runs go unless runs_dir says otherwise
GRID = ("-m", "--multirun")
FILES = ("debug", "paper", "studies")  # groups whose file changes the other sections, and is none itself
PLUGINS = {"joblib": "joblib", "submitit_slurm": "slurm", "submitit_local": "slurm_local"}  # launcher: launch=


class ConfigError(Exception):
    """The user asked for something impossible; the message names key, value and what is allowed."""


def unknown(key: str, allowed: Iterable[str], what: str = "unknown key") -> str:
    """One line that names what is allowed and suggests the nearest."""
    allowed = list(allowed)
    typed = re.split(r"[.= /]", str(key))[-1]
    plain = {_plain(name): name for name in allowed}
    near = [plain[name] for name in difflib.get_close_matches(_plain(typed), plain, n=1)]
    hint = f" (did you mean {near[0]}?)" if near else ""
    choices = f"allowed: {', '.join(allowed)}" if allowed else "there are none"
    return f"{key}: {what}{hint}; {choices}"


def _plain(name: str) -> str:
    """A name without what a reader leaves out: capitals, and zeros before a number (fig02 is fig2)."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", name.lower())


def duration(seconds: float) -> str:
    """Seconds for a reader: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def command(overrides: Iterable[str], runs_dir: Path = RUNS) -> str:
    """The command that takes these overrides and trains into a folder, as a shell reads it."""
    return shlex.join(["python", "run.py", *overrides, *([] if runs_dir == RUNS else [f"runs_dir={runs_dir}"])])


def yaml_fault(error: Exception) -> str:
    """Why a file cannot be read as yaml, and in which line."""
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror})"
    mark = getattr(error, "problem_mark", None)
    reason = f"line {mark.line + 1}: {error.problem}" if mark else " ".join(str(error).split())
    return f"cannot be read as yaml: {reason}"


def explain(error: Exception, argv: list[str]) -> str:
    """Hydra's complaint about a command line, as one line in our terms."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        parts = error.missing_cfg_file.split("/")
        depth = 2 if parts[0] == "hydra" else 1
        group, name = ("/".join(parts[:depth]), "/".join(parts[depth:])) if len(parts) > depth else ("", parts[0])
        if " " in name and "=" in name:
            return f"{group}={name}: give each setting by itself, in quotes of its own"
        if not group:
            return f"--config-name={name}: not found; leave it out"
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
    grid = re.search(r"(?:Ambiguous value for argument|Sweep parameters) '([^']+)'", str(error))
    if grid:
        return f"{grid[1]}: several values are a grid, which needs -m: {command(['-m', *argv])}"
    twice = re.match(r"(\S+) appears more than once in the final defaults list", str(error))
    if twice:
        return f"{twice[1]}: chosen twice; write {twice[1]}=NAME once, without +"
    if isinstance(error, OverrideParseException):
        quoted = shlex.quote('key="value"')
        return f"{error.override}: must be key=value; a value with brackets or commas may need quotes: {quoted}"
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {str(error).splitlines()[0]}"
    return str(error)


def _unknown_key(key: str, argv: list[str]) -> str:
    parent, _, leaf = key.rpartition(".")
    cfg = _chosen_files(argv)
    allowed = _siblings(key, cfg)
    if parent and not allowed:
        return unknown(parent, _siblings(parent, cfg))
    if leaf in allowed:
        return f"{key}: some of the chosen files have no such key; leave these files out"
    sections = [name for name, settings in cfg.items() if isinstance(settings, DictConfig) and key in settings]
    if sections:
        return f"{key}: unknown key; did you mean {' or '.join(f'{section}.{key}' for section in sections)}?"
    file = cfg[parent].get("name") if parent in cfg else None
    return unknown(key, allowed, f"{parent}={file} has no such key" if file else "unknown key")


def _chosen_files(argv: list[str]) -> DictConfig:
    """The config that the groups chosen in `argv` compose, with the first file of each grid."""
    groups = [arg for arg in argv if re.fullmatch(r"(algo|env|model|optim|tracker|launch|paper|studies)=[\w,]+", arg)]
    return composed(group.partition(",")[0] for group in groups)


def _siblings(key: str, node: DictConfig) -> list[str]:
    """The keys beside `key` in a config."""
    for part in key.split(".")[:-1]:
        node = node.get(part) if isinstance(node, DictConfig) else None
    return [str(k) for k in node if k not in FILES] if isinstance(node, DictConfig) else []
