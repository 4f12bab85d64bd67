"""From the words of a command line to the overrides that Hydra takes; words that Hydra would misread are refused."""

import os
import re
import shlex
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from analysis import catalogue
from analysis.compose import GRIDS, SWEEPS, choice, names_in
from analysis.paper import TABLES
from conf.messages import GRID, ConfigError, command, unknown
from conf.own_files import CONF, register

SECTIONS = ("algo", "env", "model", "optim", "train", "tracker", "launch", "debug")
GROUPS = {group: CONF / group for group in SECTIONS} | {group: SWEEPS / group for group in GRIDS}
SETTINGS = {*GROUPS, *OmegaConf.load(CONF / "config.yaml"), "plan", "suite", "budget"}  # what a command line sets
TEXTS = ("path", "_dir", "data", "reward", "label", "suite", "plan")  # keys of paths and of free text end so
OPEN = re.compile(r"\+*env\.options[.=]")  # its keys another library knows, so that Hydra takes them only after ++


def prepare(argv: list[str]) -> list[str]:
    """The overrides of a command line, in Hydra's words; Hydra then finds the files of the folders that it names.

    Raises ConfigError for a word that says nothing, and for a group that is given what names no file.
    """
    words = [quoted_path(word) for word in argv]
    register(words)
    before = ""
    for word in words:
        _check_dashes(word)
        if not word.startswith("-") and (before in GRID or not before.startswith("-")):  # Hydra's own: --cfg job
            _check(word, before)
        before = word
    _check_sweeps(words)
    return _expanded(words)


def quoted_path(word: str) -> str:
    """The same word, in which a path that Hydra's grammar cannot read, such as one with an apostrophe, is quoted.

    The ~ of runs_dir, in which Hydra makes folders of its own, is the user's home. Raises ConfigError where there is no
    such user.
    """
    key, equals, value = word.partition("=")
    if key == "runs_dir" and value.startswith("~"):
        value = os.path.expanduser(value)
        if value.startswith("~"):
            raise ConfigError(f"{word}: there is no such user; name a folder")
        word = f"{key}={value}"
    is_path = "/" in value or value.startswith("~") or key.endswith(TEXTS)
    return f"{key}={quoted(value)}" if equals and key != "model" and is_path and parsed(word) is None else word


def quoted(text: str) -> str:
    """The text as Hydra's grammar has a string, where a backslash is doubled before a quote and at the end."""
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + found[2].replace("'", r"\'"), text) + "'"


def parsed(word: str) -> Override | None:
    """An override as Hydra reads it; None where it cannot."""
    try:
        return OverridesParser.create().parse_overrides([word])[0]
    except OverrideParseException:
        return None


def value_of(word: str) -> str:
    """The value of a word, without the quotes that a path with brackets or an apostrophe has for Hydra."""
    value = word.partition("=")[2]
    found = parsed(word) if value.startswith(("'", '"')) else None
    return value if found is None or found.is_sweep_override() else found.value()


def _check_dashes(word: str) -> None:
    """Raise ConfigError for a setting that is written as an option, such as --algo=tpo."""
    without = word.lstrip("-")
    key, equals, _ = without.partition("=")
    if without != word and equals and key.partition(".")[0] in SETTINGS:
        raise ConfigError(f"{word}: a setting has no dashes; type {shlex.quote(without)}")


def _check(word: str, before: str) -> None:
    """Raise ConfigError for a word, which comes after the word `before`, if it cannot be right."""
    if word in SETTINGS:
        raise ConfigError(f"{word}: has no value; must be {word}=VALUE, without spaces around =")
    if not word.partition("=")[0] or ("=" not in word and not word.startswith("~")):
        example = f"{before} {word}" if "=" in before else "runs_dir=/my runs"
        raise ConfigError(f"{word}: must be key=value, in quotes if it has a space: {shlex.quote(example)}")
    override = parsed(word)
    if override is None or override.is_delete() or override.key_or_group not in GROUPS:
        return
    group = override.key_or_group
    if not all(isinstance(value, str) for value in _values(override)):
        reason = f"{group} takes the name of a file, and one of its settings is written {group}.KEY=VALUE"
        raise ConfigError(unknown(word, names_in(GROUPS[group]), reason))


def _values(override: Override) -> list[Any]:
    """The value of an override, or all values of an axis as far as the words name them."""
    value = override.value()
    if isinstance(value, ChoiceSweep):
        return [getattr(one, "text", one) for one in value.list]
    return [] if override.is_sweep_override() else [value]


def _check_sweeps(words: list[str]) -> None:
    """Raise ConfigError, with what to type, for several sweep files, and for a name that is none."""
    chosen = [word for word in words if word.startswith(tuple(f"{group}=" for group in GRIDS))]
    others = [word for word in words if word not in (*chosen, *GRID)]
    found = [(word.partition("=")[0], value) for word in chosen if (o := parsed(word)) for value in _values(o)]
    if len(found) > 1 or any("glob(" in word for word in chosen):
        each = " && ".join(command([f"{group}={name}", *others]) for group, name in found) or "paper=fig02 for example"
        raise ConfigError(f"{' '.join(chosen)}: one sweep file at a time; type {each}")
    for group, name in found:
        if name not in names_in(GROUPS[group]):
            _explain_missing_sweep(group, name, others)


def _explain_missing_sweep(group: str, name: str, others: list[str]) -> None:
    """Raise ConfigError, with what to type, for a file of another group, and for what is drawn from other sweep files.

    others  the other words of the command line
    """
    for other in GRIDS:
        if name in names_in(GROUPS[other]):
            raise ConfigError(f"{group}={name}: not found; type {command([f'{other}={name}', *others])}")
    figure = TABLES[name].figure if name in TABLES else name
    if figure in catalogue.figures():
        sweeps = catalogue.sweeps(figure)
        each = " && ".join(command([*choice(sweep, "paper"), *others]) for sweep in sweeps)
        raise ConfigError(f"{group}={name}: not found; {name} is drawn from the runs of {' and '.join(sweeps)}: {each}")


def _expanded(words: list[str]) -> list[str]:
    """The words as Hydra takes them.

    -m comes first. model=Qwen/Qwen3-1.7B and model=FOLDER become model.path. launch.workers=N asks for launch=joblib.
    """
    own = ConfigStore.instance().repo.get("model", {})  # files of the user's, from model_path
    found = [word for word in words if word in GRID]  # elsewhere, what follows it would be the only override
    for word in (word for word in words if word not in GRID):
        key, _, value = word.partition("=")
        values = value.split(",")
        known = [one for one in values if (CONF / "model" / f"{one}.yaml").exists() or f"{one}.yaml" in own]
        of_hub = key == "model" and value and known != [value] and ("/" in value or Path(value).is_dir())
        if of_hub and known:
            raise ConfigError(f"{word}: a grid mixes files of conf/model with other models; type a command for each")
        paths = ",".join(map(quoted, values))
        found += ["model=hf", f"model.path={paths}"] if of_hub else [word]
    parallel = any(word.startswith("launch.workers=") for word in found)
    chosen = any(word.startswith(("launch=", "plan=", "suite=")) for word in found)  # a plan starts its own processes
    found = [f"++{word.lstrip('+')}" if OPEN.match(word) else word for word in found]
    return [*found, "launch=joblib"] if parallel and not chosen else found
