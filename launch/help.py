"""The text of `python run.py --help`: an overview on one screen, and a page for each topic."""

import inspect
import re
import textwrap
from itertools import takewhile
from pathlib import Path

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

import training
from analysis.compose import SWEEPS, names_in
from conf.compose import composed
from conf.discover import discover, find_classes
from conf.messages import ConfigError, unknown
from conf.own_files import CONF, PATHS, register
from launch.command_line import quoted_path, value_of
from launch.kinds import LAUNCHES
from store.trackers import TRACKERS
from training.config import TrainConfig

ASKS = ("--help", "-h")
WIDTH = 100  # columns
GROUPS = ("algo", "env", "model", "optim", "launch", "tracker")
SWEPT = {"paper": "paper", "studies": "studies", "suite": "suites", "plan": "plans"}  # {key: folder of sweeps/}
TOPICS = (*GROUPS, *SWEPT, "train", "settings")
EXAMPLES = """\
Train one configuration of a method on a task, or many.

  python run.py algo=tpo env=sparse_bandit        one run
  python run.py -m algo=tpo,grpo,dg,pg seeds=20   a grid: -m, and commas between values
  python run.py paper=fig02 scale=quick           the runs of a figure of the paper, in minutes
  python run.py studies=noise                     the runs of a study beyond it
  python run.py suite=core algo=tpo               a method on every task of the leaderboard
  python run.py plan=paper budget=8h              a night of training; budget=0: what is left
  python -m analysis list                         what can be drawn of the runs
"""
ENDING = """\
Any setting is KEY=VALUE: seeds=20 train.steps=300 algo.eta=0.5 optim.lr=0.01 runs_dir=FOLDER.
More: python run.py --help TOPIC, with one of
"""


def is_asked(argv: list[str]) -> bool:
    """Whether a command line asks for help; one without a word does."""
    return not argv or any(word in ASKS for word in argv)


def text(argv: list[str]) -> str:
    """The pages that a command line asks for, or the overview; raises ConfigError for an unknown topic."""
    words = [quoted_path(word) for word in argv]
    folders = [word for word in words if word.startswith(tuple(f"{key}=" for key in PATHS))]
    topics = [word for word in words if word not in (*ASKS, *folders) and not word.startswith("runs_dir=")]
    register(folders)
    return "\n\n".join(_page(topic, folders) for topic in topics) if topics else _overview()


def _overview() -> str:
    lists = [_filled(f"{key}: {', '.join(_names(key))}") for key in (*GROUPS, *SWEPT)]
    return "\n".join([EXAMPLES, *lists, "", ENDING + _filled(f"  {', '.join(TOPICS)}, or one file: algo=tpo")])


def _page(topic: str, folders: list[str]) -> str:
    group, equals, name = topic.partition("=")
    if group not in TOPICS or (equals and group not in (*GROUPS, *SWEPT)):
        raise ConfigError(unknown(f"--help {topic}", [*TOPICS, "one file such as algo=tpo"], "no such topic"))
    if equals and name not in _names(group):
        raise ConfigError(unknown(f"--help {topic}", _names(group), "not found"))
    if equals:
        return _settings(group, name, folders) if group in GROUPS else _sweep(group, name)
    if group == "train":
        return f"Keys of train, such as train.steps=300\n\n{inspect.getdoc(TrainConfig)}"
    if group == "settings":
        lines = (CONF / "config.yaml").read_text().partition("\nseeds:")[2].partition("\nhydra:")[0]
        return f"Settings that belong to no group, with their defaults\n\nseeds:{lines.rstrip()}"
    lines = (_filled(f"  {name:<22} {_about(group, name)}", 25) for name in _names(group))
    return "\n".join([f"{group}=NAME, with one of", *lines])


def _sweep(group: str, name: str) -> str:
    """A file of sweeps/, whose comments say what it is for."""
    return (_folder(group) / f"{name}.yaml").read_text().removeprefix("# @package _global_\n").rstrip()


def _settings(group: str, name: str, folders: list[str]) -> str:
    """Settings of a file of a group, and what its class says of them."""
    node = composed([f"{group}={name}", *folders])[group]
    settings = textwrap.indent(OmegaConf.to_yaml(node), "  ")
    about = _class_doc(group, node, folders)
    return f"{group}={name}, with settings such as {group}.KEY=VALUE\n\n{settings}\n{about}"


def _class_doc(group: str, node: DictConfig, folders: list[str]) -> str:
    """What the class of a file of a group says of itself; empty where there is none."""
    name = node.get({"algo": "objective", "env": "task"}.get(group, "name"))
    found = _classes(group, folders).get(name)
    return inspect.getdoc(found) or "" if found else ""


def _classes(group: str, folders: list[str]) -> dict[str, type]:
    if group in ("launch", "tracker"):
        return {"launch": LAUNCHES, "tracker": TRACKERS}[group]
    own = {folder.partition("=")[0]: value_of(folder) for folder in folders}
    return discover(training) if group == "optim" else find_classes(group, own.get(f"{group}_path"))


def _names(key: str) -> list[str]:
    """The files of a group, with those of the user's folders, or of a folder of sweeps."""
    own = [name.removesuffix(".yaml") for name in ConfigStore.instance().repo.get(key, {})]
    return sorted({*names_in(_folder(key)), *own})


def _folder(key: str) -> Path:
    return SWEEPS / SWEPT[key] if key in SWEPT else CONF / key


def _about(key: str, name: str) -> str:
    """The first sentence at the head of a file. Without one, that of its class, or the remark on its command."""
    path = _folder(key) / f"{name}.yaml"
    if not path.exists():
        return "your own"
    comments = takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
    head = [line.removeprefix("#").strip() for line in comments]
    head = list(takewhile(bool, (line for line in head if not line.startswith("@package"))))
    text = [line for line in head if not line.startswith("python")]
    if head and not text:
        _, bracket, remark = head[0].partition("(")  # a command with its remark: (20 seeds x 300)
        return bracket + remark
    if not text and key in GROUPS:
        text = _class_doc(key, OmegaConf.load(path), []).partition("\n\n")[0].splitlines()
    return re.split(r"(?<=\.) ", " ".join(text))[0]


def _filled(line: str, indent: int = 2) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * indent, break_long_words=False)
