"""What the tests share: every configured objective, random batches, and the command line in process."""

import copy
import dataclasses
import functools
import resource
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from algorithms.base import Batch, Objective
from conf.discover import find_classes, why_left_out
from conf.own_files import PATHS, own_files, register
from conf.resolve import Experiment, resolve
from envs.rlvr.base import TextEnv
from envs.sequence import SequenceEnv
from launch import command as command_line
from store.runs import Run, RunStore

ROOT = Path(__file__).resolve().parent.parent
EARLY = "2026-01-01T10:00:00+0000"
own: Path | None = None  # the folder of pytest --own


def names(group: str) -> list[str]:
    """The files of the suite in a config group."""
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def registered(group: str) -> list[str]:
    """The same, with those of the folder of pytest --own."""
    return names(group) + ([] if own is None else list(own_files(group, own)))


def own_paths() -> tuple[str, ...]:
    """What finds the files of the folder of pytest --own."""
    return () if own is None else tuple(f"{path}={own}" for path in PATHS)


def node_of(group: str, name: str) -> DictConfig:
    """What a file of a group says, with the files of the group that it builds on, composed without Hydra."""
    path = ROOT / "conf" / group / f"{name}.yaml"
    node = OmegaConf.load(path) if path.exists() else own_files(group, own)[name]
    bases = [base for base in node.pop("defaults", []) if isinstance(base, str) and base != "_self_"]
    return OmegaConf.merge(*(node_of(group, base) for base in bases), node)


def class_of(group: str, name: str) -> type:
    """The class that a file of a group configures."""
    node = node_of(group, name)
    called = node.env.task if group == "env" else node.get("objective", node.name)
    found = find_classes(group, own and str(own))
    assert called in found, f"{name}.yaml: no file has a class called {called}; left out: {why_left_out(called)}"
    return found[called]


@functools.cache
def composed(*overrides: str) -> DictConfig:
    """What Hydra makes of a command line; it takes a third of a second."""
    register(list(overrides))
    with initialize_config_module("conf", version_base="1.3"):
        return compose("config", list(overrides))


def experiment(tmp_path: Path, *overrides: str) -> Experiment:
    cfg = copy.deepcopy(composed(*own_paths(), *overrides))
    cfg.runs_dir = str(tmp_path / "runs")
    return resolve(cfg)


def experiment_of(tmp_path: Path, algo: str, *overrides: str) -> Experiment:
    """The same with another algorithm's file in place of the default's, so that one composition serves them all."""
    cfg = copy.deepcopy(composed(*own_paths(), *overrides))
    cfg.runs_dir, cfg.algo = str(tmp_path / "runs"), node_of("algo", algo)
    return resolve(cfg)


@functools.cache
def objective(name: str) -> Objective:
    """The objective that conf/algo/<name>.yaml configures."""
    with tempfile.TemporaryDirectory() as folder:
        return experiment_of(Path(folder), name).objective


def command(monkeypatch, capsys, *args: object) -> tuple[int, str]:
    """Exit code and output of `python run.py ARGS`, in this process."""
    monkeypatch.setattr(sys, "argv", ["run.py", *map(str, args)])
    command_line.outcomes.clear()
    try:
        code = command_line.main()
    except SystemExit as stop:  # argparse: --help
        code = stop.code
    return code, capsys.readouterr().out


def random_batch(*shape: int, seed: int = 0, dtype=torch.float64) -> tuple[torch.Tensor, Batch]:
    """Current log-probs near, but not at, those of the rollout, and a batch of shape (*L, B, K, T)."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*s):
        return torch.randn(*s, generator=rng, dtype=dtype)

    logp_old = -normal(*shape).abs() - 0.1
    logp = logp_old + 0.05 * normal(*shape)
    reward = normal(*shape).abs()
    lengths = torch.randint(1, shape[-1] + 1, shape[:-1], generator=rng)
    mask = (torch.arange(shape[-1]) < lengths.unsqueeze(-1)).to(dtype)
    weight = torch.ones(shape[:-1], dtype=dtype)
    baseline, score = 0.5 * normal(*shape), (reward * mask).sum(-1)
    return logp, Batch(logp_old, reward, baseline, mask, score, weight, logp_old + 0.1 * normal(*shape))


TEXT = frozenset(name for name in names("env") if issubclass(class_of("env", name), TextEnv))  # for language models
SEQUENCES = frozenset(name for name in names("env") if issubclass(class_of("env", name), SequenceEnv))
PRESETS = frozenset({"mnist", "token_reversal", "terminal_reversal"})  # other files configure the same code


def small(env: str) -> tuple[str, ...]:
    """Settings that make a task fast enough for a unit test, without a download."""
    if issubclass(class_of("env", env), TextEnv):
        sizes = {"layers": 1, "hidden": 32, "mlp": 32, "heads": 2, "kv_heads": 1, "head_dim": 8, "warm_accuracy": 0}
        model = [f"model.{key}={value}" for key, value in sizes.items()]
        return ("model=tiny_qwen3", *model, "env.batch=2", "env.candidates=2", "train.eval_problems=4")
    if issubclass(class_of("env", env), SequenceEnv):
        # terminal rewards stay short: where no answer of a batch is right, Muon makes whole steps of rounding noise
        horizon = 2 if node_of("env", env).env.reward == "terminal" else 3
        sizes = ("env.batch=6", "env.candidates=4", "model.d_model=8", "model.layers=1")
        return ("model=transformer", f"env.horizon={horizon}", *sizes)
    return ("env.dataset=digits",) if env == "mnist" else ()  # digits: the same code without a download


SMALL = {env: small(env) for env in names("env")}


def is_tested_pair(env: str, algo: str) -> bool:
    """Whether a test of all pairs tries this one: one algorithm of each kind, and TPO alone on further presets.

    Tasks for language models have tests of their own.
    """
    return env not in TEXT and (algo == "tpo" or (env not in PRESETS and algo in algorithm_kinds()))


@functools.cache
def algorithm_kinds() -> list[str]:
    """One algorithm for each combination of what the sampler and the trainer read off an objective."""
    read = ("sampler", "zero_variance_gradient", "shift_invariant_in_logp", "needs_reference", "baseline")
    found = {
        tuple(getattr(objective(algo), name) for name in read): algo for algo in sorted(names("algo"), reverse=True)
    }
    return sorted(found.values())


def has_rewards_for(env: str, algo: str) -> bool:
    """Whether a task knows the true rewards that an oracle needs."""
    return algo != "ce" or env not in SEQUENCES | {"shifted_bandit"}


def change(batch: Batch, **fields) -> Batch:
    return dataclasses.replace(batch, **fields)


def tensors(batch: Batch) -> dict[str, torch.Tensor]:
    return {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}


def gradient(objective: Objective, logp: torch.Tensor, batch: Batch) -> torch.Tensor:
    logp = logp.detach().clone().requires_grad_()
    loss, _ = objective.loss(logp, batch)
    return torch.autograd.grad(loss.sum(), logp)[0]


def accumulate_gradient(trainer, rollout, on_policy: bool) -> None:
    """Set the gradient of the trainer's parameters to that of an epoch on a rollout."""
    logp = trainer.gradient.logp(rollout, trainer.objective, on_policy)
    trainer.optimizer.zero_grad()
    trainer.objective.loss(logp, rollout.batch)[0].sum().backward()


def metrics(*seeds: int, value: float = 0.5, dtype: type = np.float32) -> pd.DataFrame:
    """Two steps of an error for each seed, in the types that training stores."""
    rows = [{"seed": seed, "step": step, "metric": "error", "value": value} for seed in seeds for step in (1, 2)]
    return pd.DataFrame(rows).astype({"step": np.int32, "value": dtype})


def saved(folder: Path, frame: pd.DataFrame, *overrides: str, finished: str = EARLY, runs: str = "runs") -> Run:
    """A run of `overrides` in folder/runs with the seeds of `frame`."""
    run = RunStore(folder / runs).open(experiment(folder, *overrides).config)
    seeds = sorted(int(seed) for seed in frame.seed.unique())
    run.save(frame, {"seeds": seeds, "seconds": 1.5, "device": "cpu", "finished": finished})
    return run


@contextmanager
def files_limited_to(size: int):
    """A disk that is full after `size` bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def text_task(folder: Path) -> list[str]:
    """Overrides for a text task whose rewards differ within a group, whatever an untrained model answers."""
    rows = "".join(f'{{"prompt": "{letter * n}", "answer": "{letter}"}}\n' for letter in "abcd" for n in range(1, 12))
    (folder / "rows.jsonl").write_text(rows)
    (folder / "reward.py").write_text("def reward(completion, row):\n    return len(completion) % 3 == 0\n")
    return ["env=text", f"env.data={folder}/rows.jsonl", f"env.reward={folder}/reward.py:reward"]
