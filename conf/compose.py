"""The config that Hydra composes of overrides."""

from collections.abc import Iterable

from hydra import compose, initialize_config_module
from omegaconf import DictConfig


def composed(overrides: Iterable[str]) -> DictConfig:
    """The config of a command line with these overrides; raises what Hydra raises for one that it cannot apply."""
    with initialize_config_module("conf", version_base="1.3"):
        return compose("config", list(overrides))
