"""The gradient per token that engines get, against autograd through the whole loss."""

import re

import pytest
import torch
from torch.testing import assert_close

from algorithms.base import scored_completions
from algorithms.kl_penalty import KLPenalty
from engines.weights import LEARNS_FROM_GROUPS, token_weights
from tests import helpers
from tests.helpers import ROOT, registered

OBJECTIVES = {name: helpers.objective(name) for name in registered("algo")}
FROM_GROUPS = {n: o for n, o in OBJECTIVES.items() if o.required_sampler in LEARNS_FROM_GROUPS}
OTHERS = sorted(OBJECTIVES.keys() - FROM_GROUPS.keys())
B, T, V, WIDTH = 3, 5, 7, 4


def completions(k: int, seed: int = 0):
    """A tiny policy and scored completions of unequal lengths; the first group has zero variance."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(B * k, T, WIDTH, generator=generator, dtype=torch.float64)
    tokens = torch.randint(V, (B * k, T), generator=generator)
    lengths = torch.randint(1, T + 1, (B * k,), generator=generator)
    mask = (torch.arange(T) < lengths.unsqueeze(1)).double()
    score = torch.randint(2, (B * k,), generator=generator).double()
    score[:k] = 1.0
    score[k : 2 * k : 2], score[k + 1 : 2 * k : 2] = 0.0, 1.0
    weight = torch.randn(WIDTH, V, generator=generator, dtype=torch.float64, requires_grad=True)

    def logp(rows=slice(None)):
        table = (features[rows] @ weight).log_softmax(-1)
        return table.gather(-1, tokens[rows].unsqueeze(-1)).squeeze(-1)

    old, ref = (logp().detach() + 0.1 * torch.randn(B * k, T, generator=generator) for _ in range(2))
    return weight, logp, old, ref, mask, score


def whole_gradient(objective, weight, logp, old, ref, mask, score, k):
    shape = (B, k, T)
    batch = scored_completions(old.view(shape), score.view(B, k), mask.view(shape), ref.view(shape))
    loss, _ = objective.loss(logp().view(shape), batch)
    return torch.autograd.grad(loss, weight)[0]


@pytest.mark.parametrize("k", [2, 3, 8, 32])
@pytest.mark.parametrize("name", [*FROM_GROUPS, "tpo with a KL penalty"])
def test_micro_batches_that_split_groups_add_the_gradient_of_the_whole_loss(name, k):
    objective = KLPenalty(FROM_GROUPS["tpo"], 0.1) if "KL" in name else FROM_GROUPS[name]
    weight, logp, old, ref, mask, score = completions(k)
    expected = whole_gradient(objective, weight, logp, old, ref, mask, score, k)
    g, metrics = token_weights(objective, logp().detach(), old, score, mask, k, ref)
    assert not (g * (1 - mask)).any() and metrics["loss"].shape == ()
    order = torch.randperm(B * k, generator=torch.Generator().manual_seed(1))
    for rows in order.split(max(1, k // 2)):
        (g[rows] * logp(rows)).sum().backward()
    assert_close(weight.grad, expected, atol=1e-12, rtol=1e-10)


def test_the_loop_on_the_page_of_engines_descends_on_the_whole_loss():
    page = (ROOT / "docs" / "engines.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (code,) = (block for block in blocks if "def update" in block)
    defined, k = {}, 4
    exec(code, defined)
    weight, logp, old, ref, mask, score = completions(k)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    defined["update"](optimizer, logp, old, score, mask, k, epochs=2, micro_batch=3)
    plain, plain_logp, *_ = completions(k)
    for _ in range(2):
        gradient = whole_gradient(FROM_GROUPS["tpo"], plain, plain_logp, old, ref, mask, score, k)
        with torch.no_grad():
            plain -= 0.1 * gradient
    assert_close(weight, plain, atol=1e-12, rtol=1e-10)


def test_half_precision_gives_weights_near_those_of_float32():
    logp = torch.tensor([[-1.0, -2.0], [-0.5, -1.0], [-3.0, -0.25], [-1.0, -1.0]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])  # one completion is empty
    for name, objective in FROM_GROUPS.items():
        if objective.needs_reference:
            continue
        weights = [
            token_weights(objective, x, x, torch.tensor([1.0, 0, 1, 0]).to(x), mask.to(x), 2)[0].float()
            for x in (logp, logp.half())
        ]
        assert_close(*weights, atol=2e-3, rtol=2e-2, msg=name)


@pytest.mark.parametrize("name", OTHERS)
def test_what_needs_more_than_groups_is_refused(name):
    x = torch.zeros(4, T)
    with pytest.raises(ValueError, match=f"objective={OBJECTIVES[name].name}: needs"):
        token_weights(OBJECTIVES[name], x, x, torch.zeros(4), torch.ones(4, T), 2)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"group_size": 3}, "group_size=3: must be at least 2 and divide the 4 completions"),
        ({"group_size": 1}, "group_size=1"),
        ({"score": torch.zeros(4, 1)}, r"score has shape \(4, 1\): must be \(4,\)"),
        ({"mask": torch.ones(4)}, "mask has shape"),
        ({"logp_ref": torch.zeros(4, 1)}, "logp_ref has shape"),
        ({"logp": torch.zeros(2, 2, T)}, r"logp has shape \(2, 2, 5\): must be \(N,T\)"),
        ({"logp": torch.zeros(4)}, r"logp has shape \(4,\): must be \(N,T\)"),
        ({"logp": torch.zeros(0, T)}, "logp has shape"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change, text):
    x = torch.zeros(4, T)
    given = {"logp": x, "logp_old": x, "score": torch.zeros(4), "mask": torch.ones(4, T), "group_size": 2}
    with pytest.raises(ValueError, match=text):
        token_weights(OBJECTIVES["tpo"], **given | change)


def test_a_reference_that_is_needed_and_missing_is_named():
    x = torch.zeros(4, T)
    objective = next(o for o in FROM_GROUPS.values() if o.needs_reference)
    with pytest.raises(ValueError, match="needs logp_ref"):
        token_weights(objective, x, x, torch.zeros(4), torch.ones(4, T), 2)
