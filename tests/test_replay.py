"""The golden replay passes on the golden folder, works on others, and notices what is wrong."""

import numpy as np
import pytest

from reference.replay import GOLDEN, main


@pytest.fixture
def copy(tmp_path):
    def make(name: str, **changes):
        with np.load(GOLDEN / name) as archive:
            data = dict(archive)
        data.update({key: change(data[key]) for key, change in changes.items()})
        np.savez(tmp_path / name, **data)
        return tmp_path

    return make


def test_all_golden_quantities_are_within_tolerance(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "112 ok, 0 over" in out and "OVER" not in out


def test_a_wrong_value_is_noticed(copy, capsys):
    folder = copy("losses.npz", tpo_loss_value=lambda x: x + 2e-5)
    assert main([str(folder)]) == 1
    assert "losses/tpo_loss_value" in capsys.readouterr().out


def test_other_shapes_work(copy, capsys):
    folder = copy(
        "bandit_multi_context.npz",
        **{f"{a}_{m}": lambda x: x[:50] for a in ("pg", "dg", "tpo", "grpo", "ce") for m in ("error", "misalignment")},
    )
    assert main([str(folder)]) == 0
    assert "10 ok, 0 over" in capsys.readouterr().out


def test_files_that_are_not_known_are_named_and_not_counted(copy, capsys):
    folder = copy("losses.npz")
    np.savez(folder / "newer.npz", x=np.zeros(1))
    assert main([str(folder)]) == 0
    assert "newer.npz: not known" in capsys.readouterr().out


def test_damaged_and_missing_files_fail(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    (tmp_path / "losses.npz").write_bytes(b"not a zip")
    assert main([str(tmp_path)]) == 1
    assert "cannot be replayed" in capsys.readouterr().out
