"""Images as contexts: the data files, the expected baseline, the three layouts, and that it learns."""

import gzip
import math

import pytest
import torch
from torch.testing import assert_close

from envs import datasets
from envs.images import ImageBandit
from store.identity import run_id
from tests.helpers import experiment
from training.experiment import build
from training.noise import Noise
from training.samplers.actions import enumerated_actions, exact_expectation, sampled_actions

SHAPES = {
    "train-images-idx3-ubyte": (2051, (12, 28, 28)),
    "train-labels-idx1-ubyte": (2049, (12,)),
    "t10k-images-idx3-ubyte": (2051, (5, 28, 28)),
    "t10k-labels-idx1-ubyte": (2049, (5,)),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """MNIST's files with twelve and five images, half of them gzipped."""
    monkeypatch.setattr(datasets, "FILES", SHAPES)
    for i, (name, (magic, shape)) in enumerate(SHAPES.items()):
        header = b"".join(n.to_bytes(4, "big") for n in (magic, *shape))
        data = header + bytes(n % 10 for n in range(math.prod(shape)))
        path = tmp_path / (name + ".gz" * (i % 2))
        path.write_bytes(gzip.compress(data) if i % 2 else data)
    return tmp_path


def test_idx_files_are_read_gzipped_or_not(folder):
    images = ImageBandit(data_dir=str(folder)).images
    assert images.train.shape == (12, 784) and images.test.shape == (5, 784)
    assert_close(images.train[0, :11], torch.tensor([*range(10), 0]) / 255)
    assert images.train_labels.tolist() == [*range(10), 0, 1]


@pytest.mark.parametrize(
    ("damage", "texts"),
    [
        (lambda path: path.unlink(), ["train-images-idx3-ubyte.gz"]),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), ["9408 bytes", "found", "9407"]),
        (lambda path: path.write_bytes(b""), ["[2051, 12, 28, 28]", "[0, 0, 0, 0]"]),
        (lambda path: path.write_bytes(b"\0\0\0\7" + path.read_bytes()[4:]), ["[2051, 12, 28, 28]", "[7, 12, 28, 28]"]),
        (lambda path: (path.unlink(), path.mkdir()), ["cannot read train-images-idx3-ubyte", "directory"]),
    ],
    ids=["missing", "truncated", "empty", "wrong", "unreadable"],
)
def test_bad_files_are_named_with_what_was_found(folder, cli, damage, texts):
    damage(folder / "train-images-idx3-ubyte")
    code, out = cli("env=mnist", f"env.data_dir={folder}")
    assert code == 2 and "Traceback" not in out and "env.data_dir=" in out
    for text in ["train-images-idx3-ubyte", *texts]:
        assert text in out.replace("\n", " ")


def test_a_damaged_archive_is_named(folder, cli):
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    code, out = cli("env=mnist", f"env.data_dir={folder}")
    assert code == 2 and "cannot read train-labels-idx1-ubyte.gz" in out


def test_without_data_both_ways_are_offered(cli):
    code, out = cli("env=mnist")
    assert code == 2 and "env.data_dir" in out and "env=digits" in out and "Traceback" not in out


def test_where_the_data_lies_is_not_part_of_a_run(folder, tmp_path):
    config = experiment(tmp_path, "env=mnist", f"env.data_dir={folder}").config
    assert run_id(config) == run_id(config | {"env": config["env"] | {"data_dir": "elsewhere"}})


def test_layouts_and_baseline(tmp_path):
    exp = experiment(tmp_path, "env=digits", "env.batch=7")
    trainer, noise = build(exp, (0, 1)), Noise((0, 1)).at_step(1)
    env, policy = exp.env, trainer.policy
    contexts = env.contexts(noise)
    pi = policy.logp(contexts, None).detach().squeeze(-1).exp()
    single, listed, oracle = (
        sampler(env, policy, noise).batch for sampler in (sampled_actions, enumerated_actions, exact_expectation)
    )
    assert single.logp_old.shape == (2, 1, 7, 1) and listed.score.shape == oracle.score.shape == (2, 7, 10)
    expected = pi.square().sum(-1)
    assert_close(single.baseline.view(2, 7), expected)
    assert_close(single.weight.sum(-1), torch.ones(2, 1))
    assert_close(listed.score.sum(-1), single.reward.view(2, 7) - expected)
    assert torch.equal(oracle.score.argmax(-1), env.images.train_labels[contexts])
    drawn = listed.weight.argmax(-1)
    assert_close(single.logp_old.view(2, 7).exp(), pi.gather(-1, drawn.unsqueeze(-1)).squeeze(-1))


@pytest.mark.parametrize("algo", ["tpo", "dg", "ce"])
def test_learns_digits_on_every_seed(tmp_path, algo):
    exp = experiment(tmp_path, "env=digits", f"algo={algo}", "train.steps=400", "train.log_every=150", "optim.lr=3e-3")
    history = build(exp, (0, 1, 2)).run()
    assert history.recorded_steps["error"] == [1, 150, 300, 400]  # the last step is always evaluated
    assert (history.arrays()["error"][0] > 0.7).all() and (history.arrays()["error"][-1] < 0.15).all()


def test_adam_freezes_a_broken_seed_and_moves_the_others(tmp_path):
    exp = experiment(tmp_path, "env=digits", "model.width=8", "train.steps=6")
    broken, whole = build(exp, (0, 1, 2)), build(exp, (0, 1, 2))

    def poison(trainer):
        if trainer.step == 2:
            with torch.no_grad():
                trainer.policy.biases[0][1] = torch.inf

    broken.run(poison)
    whole.run()
    assert broken.frozen_seeds() == {1: 3}
    for ours, theirs in zip(broken.policy.parameters(), whole.policy.parameters(), strict=True):
        assert torch.equal(ours[[0, 2]], theirs[[0, 2]]) and not ours[1].isnan().any()
