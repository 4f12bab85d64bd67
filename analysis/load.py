"""Which runs a figure shows: the rows of its sweep file, found in the store, and whatever else was run beside them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_module
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from store.identity import CHOICES, SECTIONS, identity, run_id
from store.runs import Run, RunStore

ALGOS = Path(__file__).resolve().parent.parent / "conf" / "algo"


@dataclass(frozen=True)
class Row:
    """One configuration of one algorithm, how it looks, and its metrics."""

    config: dict[str, Any]
    label: str
    run: Run
    only: tuple[int, ...] | None = None  # the seeds to show; None: all
    command: str = ""  # what computes the row

    @property
    def style(self) -> dict[str, Any]:
        algo = self.config["algo"]
        return {"color": algo["color"], "linestyle": algo["linestyle"], "label": self.label}

    @cached_property
    def _frame(self):
        frame = self.run.frame()
        return frame if self.only is None else frame[frame.seed.isin(self.only)]

    @property
    def seeds(self) -> int:
        return self._frame.seed.nunique()

    def metric(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Recorded steps (n,) and values (n, seeds)."""
        wide = self._frame[self._frame.metric == name].pivot(index="step", columns="seed", values="value")
        return wide.index.to_numpy(), wide.to_numpy()


def sweep_rows(name: str, store: RunStore) -> list[Row]:
    """The rows that sweeps/paper/<name>.yaml asks for, whether or not the store has them."""
    with initialize_config_module("conf", version_base="1.3"):
        file = compose("config", [f"paper={name}"], return_hydra_config=True)
        axes = [f"{key}={value}" for key, value in file.hydra.sweeper.params.items()]
        parsed = OverridesParser.create().parse_overrides(axes)
        jobs = [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]
        seeds = tuple(range(file.seeds)) if isinstance(file.seeds, int) else tuple(file.seeds)
        configs = [_plain(compose("config", [f"paper={name}", *job])) for job in jobs]
    return [
        Row(config, label(config), store.find(config), seeds, f"python run.py paper={name} {' '.join(job)}")
        for config, job in zip(configs, jobs, strict=True)
    ]


def beside(rows: list[Row], store: RunStore) -> list[Row]:
    """Stored runs of other algorithms, or other settings of them, on the same tasks as `rows`."""
    known, tasks = {run_id(row.config) for row in rows}, [_task(row.config) for row in rows]
    found = ((run, run.config()) for run in store.runs())
    return [
        Row(config, label(config), run)
        for run, config in found
        if _task(config) in tasks and run_id(config) not in known and run.seeds_done()
    ]


def environment_rows(env: str, store: RunStore) -> list[Row]:
    """Every run that the store has of an environment."""
    found = ((run, run.config()) for run in store.runs())
    return [
        Row(config, label(config), run) for run, config in found if config["env"]["name"] == env and run.seeds_done()
    ]


def label(config: dict[str, Any]) -> str:
    """The algorithm's label, with the hyperparameters in which it differs from its own yaml."""
    algo, file = config["algo"], ALGOS / f"{config['algo']['name']}.yaml"
    default = OmegaConf.to_container(OmegaConf.load(file)) if file.exists() else algo
    changed = [f"{key}={value}" for key, value in algo.items() if key in default and value != default[key]]
    changed += ["token"] * (config["sampler"] == "token_group")
    changed += ["interaction-matched"] * (config["match"] == "interactions")
    return f"{algo['label']} ({', '.join(changed)})" if changed else algo["label"]


def _plain(cfg) -> dict[str, Any]:
    sections = {section: OmegaConf.to_container(cfg[section], resolve=True) for section in SECTIONS}
    return sections | {choice: cfg[choice] for choice in CHOICES}


def _task(config: dict[str, Any]) -> dict[str, Any]:
    return {section: value for section, value in identity(config).items() if section not in ("algo", *CHOICES)}
