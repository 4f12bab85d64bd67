"""Properties of the shared reductions."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch.testing import assert_close

from algorithms import aggregate
from algorithms.base import (
    centre,
    group_mean,
    group_sum,
    leave_one_out,
    log_softmax,
    scored_completions,
    softmax,
    standardize,
    token_sum,
)
from algorithms.dr_grpo import DrGRPO
from algorithms.ratios import k3

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


@given(arrays("float64", (2, 3, 4), elements=numbers).map(torch.from_numpy), st.integers(1, 3))
def test_averages_over_tokens_and_sequences(x, copies):
    """Against loops over sequences of different lengths; a weight stands for as many copies."""
    lengths = [[1, 4, 0], [2, 3, 4]]
    mask = (torch.arange(4) < torch.tensor(lengths).unsqueeze(-1)).double()
    weight = (mask.amax(-1) * torch.tensor([copies, 1, 1])).double()
    rows = [(x[b, k, : lengths[b][k]], int(weight[b, k])) for b in range(2) for k in range(3)]
    rows = [row for row, times in rows for _ in range(times)]
    total, n, tokens = sum(row.sum() for row in rows), len(rows), sum(len(row) for row in rows)
    assert_close(aggregate.token_mean(x, mask, weight), total / tokens)
    assert_close(aggregate.seq_mean_token_sum(x, mask, weight), total / n)
    assert_close(aggregate.seq_mean_token_mean(x, mask, weight), sum(row.mean() for row in rows) / n)
    for nothing in (aggregate.token_mean, aggregate.seq_mean_token_mean):
        assert nothing(x, mask, 0 * weight).item() == 0


@given(arrays("float64", (3, 5), elements=numbers).map(torch.from_numpy))
def test_advantages_within_a_group(score):
    ones = torch.ones_like(score)
    others = (score.sum(-1, keepdim=True) - score) / 4
    assert_close(leave_one_out(score, ones), score - others, atol=1e-9, rtol=1e-9)
    assert_close(centre(score, ones), score - score.mean(-1, keepdim=True), atol=1e-9, rtol=1e-9)
    spread = score.std(-1) > 1e-6
    assert_close(standardize(score, bessel=True).std(-1)[spread], torch.ones_like(score[:, 0])[spread])
    # actions that are listed stand for all draws: nothing is left out
    listed = score.abs() + torch.arange(1, 6)
    assert_close(leave_one_out(score, listed), centre(score, listed))
    absent = torch.cat([ones, 0 * ones[:, :2]], dim=-1)
    padded = torch.cat([score, 1e6 * ones[:, :2]], dim=-1)
    for found in (leave_one_out, centre, lambda x, w: standardize(x, w, bessel=True)):
        assert_close(found(padded, absent)[:, :5], found(score, ones))


@given(arrays("float64", (4,), elements=st.floats(-60, 60)).map(torch.from_numpy))
def test_k3_is_a_distance_and_finite(x):
    found = k3(torch.zeros_like(x), x)
    assert (found >= 0).all() and found.isfinite().all()
    assert_close(found, x.clamp(-20, 20).exp() - x.clamp(-20, 20) - 1)


def test_equal_scores_standardize_to_exact_zero():
    for value in (0.1, 0.3, 1e6, -7.7):
        for eps in (0.0, 1e-8):
            assert (standardize(torch.full((2, 7), value), eps=eps) == 0).all()


def test_dr_grpo_divides_by_its_budget_or_by_the_length_of_the_batch():
    logp, mask = torch.zeros(1, 2, 4), torch.tensor([[[1.0, 1, 1, 0], [1, 0, 0, 0]]])
    batch = scored_completions(logp, torch.tensor([[1.0, 0.0]]), mask)  # advantages 1/2 and -1/2
    for budget, length in ((10, 10), (None, 4)):
        assert_close(DrGRPO(budget=budget).loss(logp, batch)[0], torch.tensor(-(3 - 1) / 2 / 2 / length))
