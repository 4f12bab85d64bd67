"""The jobs of a sweep file: the config, the seeds and the command of each."""

import copy
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from analysis.cache import Cache
from analysis.labels import ALGOS, algo_yaml
from conf.compose import composed
from conf.messages import ConfigError, unknown, yaml_fault
from conf.sweep import jobs
from store.identity import CHOICES, SECTIONS, canonical

SWEEPS = Path(__file__).resolve().parent.parent / "sweeps"
GRIDS = ("paper", "studies")  # folders of sweeps/
GROUPS = ("env", "model", "optim")  # whose files a job may choose, beside its algorithm's
SHARED = tuple(section for section in SECTIONS if section != "algo")
Files = tuple[tuple[str, str], ...]  # (group, file) pairs
Settings = tuple[str, ...]  # overrides of a job


@dataclass(frozen=True)
class Job:
    """One configuration of a sweep, the seeds that it is to have, and the overrides from which Hydra composes it."""

    config: dict[str, Any]
    seeds: tuple[int, ...]
    overrides: tuple[str, ...]


def overrides_of(text: str) -> tuple[str, ...]:
    """The overrides of a `set:` line, which are written as in a shell; raises ValueError."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"set={text}: {error}; close the quotes") from None


def choice(name: str, scale: str) -> list[str]:
    """The words after `python run.py` that run sweeps/<group>/<name>.yaml at a scale."""
    return [f"{_path(name).parent.name}={name}"] + [f"scale={scale}"] * (scale != "paper")


@cache
def sweep_jobs(name: str, scale: str, overrides: tuple[str, ...], disk_cache: Cache) -> list[Job]:
    """The jobs of a sweep file at a scale, as `python run.py` would run them with these overrides."""
    key = ["sweep", name, scale, overrides]
    found = disk_cache.get_json(key, lambda: _jobs(name, scale, overrides))
    return [Job(config, tuple(seeds), tuple(asked)) for config, seeds, asked in found]


def _jobs(name: str, scale: str, overrides: tuple[str, ...]) -> list[tuple[dict[str, Any], list[int], list[str]]]:
    """Config, seeds and overrides of each."""
    sweep = _sweep(name, scale, ())
    seeds = list(range(sweep.seeds) if isinstance(sweep.seeds, int) else sweep.seeds)
    asked = jobs(sweep.hydra.sweeper.params, overrides)
    # composing is slow, so the algorithms of a sweep share what is not theirs
    shared = _composed(name, scale, dict.fromkeys(_shared(job) for job in asked))
    configs = [canonical({"algo": _algo(job)} | shared[_shared(job)]) for job in asked]
    return [(config, seeds, [*choice(name, scale), *job]) for config, job in zip(configs, asked, strict=True)]


def sweep_names() -> list[str]:
    """The files of sweeps/ that are grids; the others are plans and suites."""
    return sorted(path.stem for folder in GRIDS for path in (SWEEPS / folder).glob("*.yaml"))


def read_yaml(kind: str, name: str, within: tuple[Path, ...]) -> tuple[Path, Any]:
    """Path and content of sweeps/KINDs/NAME.yaml, such as a plan or a suite, or of a file of one's own.

    within  the files that include it, beside the last of which it may lie. Raises ConfigError
    """
    folder = SWEEPS / f"{kind}s"
    path = Path(name) if name.endswith(".yaml") else folder / f"{name}.yaml"
    if within and (within[-1].parent / path).is_file():
        path = within[-1].parent / path
    if not path.is_file():
        known = [*names_in(folder), "a file such as mine.yaml"]
        where = f"{within[-1]}: " if within else ""
        raise ConfigError(where + unknown(f"{kind}={name}", known, "not found"))
    if path.resolve() in [file.resolve() for file in within]:
        raise ConfigError(f"{path}: the {kind} includes itself")
    try:
        return path, yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: {yaml_fault(error)}") from None


def names_in(folder: Path) -> list[str]:
    """The files of a folder, without their extension."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _path(name: str) -> Path:
    (path,) = (path for folder in GRIDS if (path := SWEEPS / folder / f"{name}.yaml").exists())
    return path


@cache
def _sweep(name: str, scale: str, files: Files) -> DictConfig:
    """A sweep file over what it and then `files` choose, which is the order in which Hydra applies them."""
    file = OmegaConf.load(_path(name))
    chosen = dict(_chosen(entry) for entry in file.pop("defaults")) | dict(files)
    cfg = OmegaConf.merge(_base(tuple(chosen.items())), file, {"scale": scale})
    OmegaConf.set_struct(cfg, True)  # a job changes settings that there are
    return cfg


def _chosen(entry: DictConfig) -> tuple[str, str]:
    """Group and file of an entry of a sweep file's defaults, such as "override /env: mnist"."""
    ((group, file),) = entry.items()
    return group.removeprefix("override /"), file


@cache
def _base(files: Files) -> DictConfig:
    """The composed config of these files, which many sweeps share, without keys on which no run depends."""
    cfg = composed(f"{group}={file}" for group, file in files)
    OmegaConf.set_struct(cfg, False)
    return OmegaConf.masked_copy(cfg, [*SHARED, *CHOICES, "seeds"])


def _composed(name: str, scale: str, jobs: Iterable[Settings]) -> dict[Settings, dict[str, Any]]:
    """Sections and choices after the settings of each job; all jobs of a grid change the same settings."""
    copies: dict[Files, DictConfig] = {}
    found = {}
    for settings in jobs:
        files = tuple(tuple(setting.split("=", 1)) for setting in settings if setting.split("=")[0] in GROUPS)
        if files not in copies:
            copies[files] = copy.deepcopy(_sweep(name, scale, files))  # slow, so the next job changes the same copy
        cfg, changes = copies[files], [setting for setting in settings if setting.split("=")[0] not in GROUPS]
        for change in changes:
            _check(change, _sweep(name, scale, files))
        cfg.merge_with_dotlist(changes)
        sections = {section: OmegaConf.to_container(cfg[section], resolve=True) for section in SHARED}
        found[settings] = sections | {choice: cfg[choice] for choice in CHOICES}
    return found


def _check(change: str, cfg: DictConfig) -> None:
    """Raise ConfigError for a change of a setting that `cfg` lacks, or of a number into none."""
    key = change.partition("=")[0]
    parent, _, leaf = key.rpartition(".")
    siblings = OmegaConf.select(cfg, parent) if parent else cfg
    if not isinstance(siblings, DictConfig) or leaf not in siblings:
        raise ConfigError(unknown(key, map(str, siblings if isinstance(siblings, DictConfig) else cfg)))
    given = OmegaConf.select(OmegaConf.from_dotlist([change]), key)
    if isinstance(siblings[leaf], int | float) and not (given is None or isinstance(given, int | float)):
        raise ConfigError(f"{change}: must be a number, as {key}={siblings[leaf]} is")


def _shared(job: Sequence[str]) -> Settings:
    """The settings of a job without its algorithm."""
    return tuple(override for override in job if not override.startswith(("algo=", "algo.")))


def _algo(job: list[str]) -> dict[str, Any]:
    """The algorithm of a job with what the job changes in it."""
    given = OmegaConf.from_dotlist([override for override in job if override.startswith("algo.")]).get("algo", {})
    return algo_file(dict(override.split("=", 1) for override in job)["algo"]) | dict(given)


def algo_file(name: str) -> dict[str, Any]:
    """The settings of an algorithm of the suite; raises ConfigError for a name that is none."""
    found = algo_yaml(name)
    if found is None:
        raise ConfigError(unknown(f"algo={name}", names_in(ALGOS), "not found"))
    return found
