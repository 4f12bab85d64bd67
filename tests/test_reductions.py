"""Properties of the shared reductions."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch.testing import assert_close

from algorithms.base import group_mean, group_sum, log_softmax, softmax, standardize, token_sum

settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("ci")

numbers = st.floats(-100, 100, allow_nan=False, width=32)
shapes = array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=6)
scores = arrays("float64", shapes, elements=numbers).map(torch.from_numpy)


@given(scores)
def test_standardized_scores_have_mean_0_and_std_1_or_are_0(score):
    u = standardize(score, floor=1e-6)
    spread = (score.std(-1, correction=0) > 1e-6) & (score.amax(-1) > score.amin(-1))
    assert_close(u.mean(-1), torch.zeros_like(u[..., 0]), atol=1e-6, rtol=0)
    assert_close(u.std(-1, correction=0), spread.double(), atol=1e-6, rtol=0)


@given(scores, st.floats(0.1, 10), st.floats(-5, 5))
def test_standardize_ignores_shift_and_scale(score, scale, shift):
    score = score.round(decimals=1)
    assert_close(standardize(score), standardize(scale * score + shift), atol=1e-5, rtol=1e-5)


@given(arrays("float64", (3, 4), elements=numbers).map(torch.from_numpy), st.integers(1, 4))
def test_weights_stand_for_repeated_draws(score, times):
    weight = torch.ones_like(score)
    weight[:, 0] = times
    repeated = torch.cat([score[:, :1]] * (times - 1) + [score], dim=-1)
    assert_close(standardize(score, weight)[:, 1:], standardize(repeated)[:, times:], atol=1e-6, rtol=1e-6)
    ones = torch.ones_like(repeated)
    assert_close(group_sum(score, weight), group_sum(repeated, ones))
    assert_close(group_mean(score, weight), group_mean(repeated, ones))


@given(scores)
def test_group_reductions_of_unit_weights(x):
    weight = torch.ones_like(x)
    assert_close(group_sum(x, weight), x.sum(-1).mean(-1))
    assert_close(group_mean(x, 3 * weight), x.mean(-1).mean(-1))


@given(scores, st.integers(0, 6))
def test_token_sum_counts_unmasked_tokens(x, length):
    mask = (torch.arange(x.shape[-1]) < length).double()
    assert_close(token_sum(x, mask), x[..., :length].sum(-1))


@given(scores)
def test_softmax_is_torch_softmax(x):
    assert_close(log_softmax(x), x.log_softmax(-1))
    assert_close(softmax(x), x.softmax(-1))


def test_equal_scores_standardize_to_exact_zero():
    for value in (0.1, 0.3, 1e6, -7.7):
        for eps in (0.0, 1e-8):
            assert (standardize(torch.full((2, 7), value), eps=eps) == 0).all()
