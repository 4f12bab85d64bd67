"""Figures 2 and 3 at paper scale against what the author's released code measured (100 seeds each)."""

import pytest

from tests.helpers import experiment
from training.experiment import build

FIG2 = {  # error after 50, 100 and 150 steps
    "tpo": (0.539, 0.00777, 5.1e-5),
    "dg": (0.544, 0.00793, 5.3e-5),
    "grpo": (0.504, 0.0125, 2.7e-3),
    "pg": (0.935, 0.110, 1.0e-3),
}
FIG3 = {"ce": (3.4e-4, 0.05), "tpo": (4.0e-4, 0.05), "grpo": (5.3e-4, 0.05), "dg": (2.1e-3, 0.25), "pg": (6.1e-3, 0.25)}


def error(tmp_path, *overrides):
    exp = experiment(tmp_path, "seeds=100", *overrides)
    history = build(exp, exp.seeds).run()
    return dict(zip(history.recorded_steps["error"], history.arrays()["error"].mean(axis=1), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("algo", FIG2)
def test_figure_2(tmp_path, algo):
    curve = error(tmp_path, "env=sparse_bandit", f"algo={algo}")
    assert [curve[50], curve[100], curve[150]] == pytest.approx(FIG2[algo], rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("algo", FIG3)
def test_figure_3(tmp_path, algo):
    expected, tolerance = FIG3[algo]
    assert error(tmp_path, "env=contextual_bandit", f"algo={algo}")[1000] == pytest.approx(expected, rel=tolerance)
