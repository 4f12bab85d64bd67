"""Every file of conf/ and sweeps/ composes, says all it configures, and runs."""

import dataclasses

import pytest
from omegaconf import OmegaConf

import training
from conf.discover import discover
from conf.fit import MisfitError
from store.identity import run_id
from tests.helpers import (
    ROOT,
    SEQUENCES,
    SMALL,
    class_of,
    composed,
    experiment,
    experiment_of,
    has_rewards_for,
    is_tested_pair,
    names,
    node_of,
    objective,
    own_paths,
    registered,
)
from training.config import TrainConfig
from training.experiment import build

CHEAP = ("sparse_bandit", "contextual_bandit", "dense_reversal")
EVERY_PAIR = [(e, a) for e in names("env") for a in names("algo") if e in CHEAP or is_tested_pair(e, a)]
SHOWN = {"name", "objective", "task", "label", "color", "linestyle"}


@pytest.mark.parametrize(("env", "algo"), EVERY_PAIR)
def test_every_algorithm_runs_where_it_fits_and_is_refused_elsewhere(tmp_path, algo, env):
    overrides = [algo, f"env={env}", "train.steps=2", "train.diagnostics=true", *SMALL.get(env, ())]
    if not has_rewards_for(env, algo):
        with pytest.raises(MisfitError, match="oracle"):
            experiment_of(tmp_path, *overrides)
        return
    history = build(experiment_of(tmp_path, *overrides), (0, 1)).run()
    assert history.recorded_steps["error"] == [1, 2]
    expected = {"error", "grad_norm", "zero_variance_share", "entropy", "kl"}
    if env in SEQUENCES:
        expected |= {"all_fail_share", "success_share", "weight_success", "weight_failure"}
    assert expected <= history.values.keys()
    assert all(values.shape == (2, 2) for values in history.arrays().values())


@pytest.mark.parametrize("algo", registered("algo"))
def test_algo_yaml_lists_every_hyperparameter(algo):
    node = node_of("algo", algo)
    assert node.name == algo
    assert set(node) - SHOWN == {field.name for field in dataclasses.fields(objective(algo))}


@pytest.mark.parametrize("env", registered("env"))
def test_env_yaml_lists_every_setting(env):
    node = composed(*own_paths(), f"env={env}").env
    assert node.name == env
    assert set(node) - SHOWN == {field.name for field in dataclasses.fields(class_of("env", env))}


@pytest.mark.parametrize("model", registered("model"))
def test_model_yaml_lists_every_setting(model):
    node = node_of("model", model)
    assert set(node) == {"name", *(field.name for field in dataclasses.fields(class_of("model", model)))}


@pytest.mark.parametrize("optim", names("optim"))
def test_optim_yaml_lists_every_setting(optim):
    node = node_of("optim", optim)
    assert node.name == optim
    assert set(node) == {"name", *(field.name for field in dataclasses.fields(discover(training)[optim]))}


def test_train_yaml_lists_every_setting():
    node = OmegaConf.load(ROOT / "conf" / "train" / "default.yaml")
    assert set(node) == {field.name for field in dataclasses.fields(TrainConfig)}


def test_labels_and_looks_are_unique():
    nodes = [OmegaConf.load(ROOT / "conf" / "algo" / f"{name}.yaml") for name in names("algo")]
    assert len({node.label for node in nodes}) == len(nodes)
    assert len({(node.color, node.linestyle) for node in nodes}) == len(nodes)


@pytest.mark.parametrize(
    ("typed", "whole"), [("train.steps=1e4", "train.steps=10000"), ("env.arms=50.0", "env.arms=50")]
)
def test_a_whole_number_may_be_typed_as_1e4(tmp_path, typed, whole):
    found, wanted = experiment(tmp_path, typed), experiment(tmp_path, whole)
    assert found.train == wanted.train and found.env == wanted.env and isinstance(found.train.steps, int)
    assert run_id(found.config) == run_id(wanted.config)
