"""The jobs of a grid: Hydra's own expansion, for whoever has to know them before they run."""

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep

from conf.messages import ConfigError


def differing_keys(asked: list[list[str]]) -> list[str]:
    """The keys in which jobs differ, without method and task, which every label has."""
    common = set.intersection(*map(set, asked))
    keys = dict.fromkeys(word.lstrip("+").partition("=")[0] for job in asked for word in job if word not in common)
    return [key for key in keys if key not in ("algo", "env")]


def jobs(axes: dict[str, object], overrides: tuple[str, ...] = (), loader=None) -> list[list[str]]:
    """The overrides of each job of `axes` {key: "value,value"}; an override of the same key replaces an axis.

    A value that an axis has twice is one job. glob(*) needs Hydra's `loader`, which knows the files of each group.
    Raises ConfigError for one that fits no file.
    """
    texts = [*(f"{key}={value}" for key, value in axes.items()), *overrides]
    parsed = OverridesParser.create(loader).parse_overrides(texts)
    for override in parsed:
        axis = override.value()
        if isinstance(axis, IntervalSweep):
            raise ConfigError(f"{override.input_line}: an interval is no list; write its values with commas between")
        if isinstance(axis, ChoiceSweep):
            axis.list = [value for i, value in enumerate(axis.list) if value not in axis.list[:i]]
    found = [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]
    if not found:
        patterns = " ".join(text for text in texts if "glob(" in text)
        if patterns:
            raise ConfigError(f"{patterns}: no file has such a name; python run.py --help lists them")
        raise ConfigError(f"{' '.join(texts)}: an axis without a value; give it one")
    return found
