"""Prompts and completions that start alike pass through the model together; what is computed stays the same."""

import dataclasses
import itertools
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoConfig, AutoModelForCausalLM

from models import prefix_tree, pretrained
from models.language import LanguagePolicy
from models.prefix_tree import PrefixTree
from rollouts import prompts as prompts_module
from rollouts.hf import HFEngine
from rollouts.prompts import shared_prefix
from tests.helpers import experiment
from tests.test_rlvr import TINY
from training.experiment import build
from training.samplers.completions import with_greedy

PREFIX = [1, *(3 + i % 9 for i in range(20))]
CASES = {
    "of different lengths": [[*PREFIX, 5, 6], [*PREFIX, 7], [*PREFIX, 8, 9, 10, 4, 5]],
    "one the start of another": [PREFIX, [*PREFIX, 7], [*PREFIX, 7, 3, 4]],
    "the same twice": [[*PREFIX, 5], [*PREFIX, 5], [*PREFIX, 6]],
    "nothing in common": [[2, *PREFIX], PREFIX, [*PREFIX[5:], 4]],
}


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> LanguagePolicy:
    return build(experiment(tmp_path_factory.mktemp("tiny"), *TINY), (0,)).policy.double()


@pytest.fixture
def passed(monkeypatch) -> list[tuple[int, int]]:
    """The shapes of the tokens that go through the engine's model."""
    shapes, run = [], HFEngine._logits

    def logits(self, tokens, *rest):
        shapes.append(tuple(tokens.shape))
        return run(self, tokens, *rest)

    monkeypatch.setattr(HFEngine, "_logits", logits)
    return shapes


def padded(found: list[list[int]], left: bool) -> torch.Tensor:
    longest = max(map(len, found))
    gaps = [[-1] * (longest - len(one)) for one in found]
    return torch.tensor([gap + one if left else one + gap for gap, one in zip(gaps, found, strict=True)])


def test_what_prompts_share_is_counted():
    counts = {name: shared_prefix(prompts) for name, prompts in CASES.items()}
    assert counts == {
        "of different lengths": 21,
        "one the start of another": 20,  # of the shortest one token is left
        "the same twice": 21,
        "nothing in common": 0,
    }
    assert shared_prefix([PREFIX]) == 0 and shared_prefix([[1, 2, 3], [1, 2, 4]]) == 0


@pytest.mark.parametrize("name", CASES)
def test_completions_and_log_probs_are_those_of_each_prompt_alone(policy, name):
    prompts, k, length = CASES[name], 4, 4
    uniforms = torch.rand(len(prompts) * k, length, generator=torch.Generator().manual_seed(0))
    together = policy.complete(prompts, k, uniforms)
    for i, prompt in enumerate(prompts):
        part = slice(i * k, (i + 1) * k)
        alone = policy.complete([prompt], k, uniforms[part])
        for field in dataclasses.fields(alone):
            assert_close(getattr(together, field.name)[part], getattr(alone, field.name))
    is_token = torch.arange(length) < together.lengths.unsqueeze(1)
    tokens = torch.where(is_token, together.tokens, -1).view(1, len(prompts), k, length)
    logp = policy.logp(padded(prompts, left=True).unsqueeze(0), tokens)
    assert_close(logp.view(-1, length), together.logp)


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_that_of_whole_prompts(policy, name, monkeypatch):
    prompts = CASES[name]
    answers = [[4 + i % 3] * (1 + i % 3) for i in range(2 * len(prompts))]
    tokens = padded(answers, left=False).view(1, len(prompts), 2, -1)
    found = []
    for least, small in itertools.product((1, 10**9), (False, True)):
        monkeypatch.setattr(prompts_module, "MIN_SHARED_TOKENS", least)
        monkeypatch.setattr(prefix_tree, "are_small", lambda *_, small=small: small)
        policy.zero_grad()
        logp = policy.logp(padded(prompts, left=True).unsqueeze(0), tokens)
        (logp * torch.arange(1.0, 1 + logp.numel()).view_as(logp)).sum().backward()
        found.append([logp.detach(), *(p.grad.clone() for p in policy.parameters())])
    for other in found[1:]:
        assert_close(found[0], other, atol=1e-5, rtol=1e-5)  # positions are in float32
    assert max(grad.abs().max() for grad in found[0][1:]) > 1


def test_a_tree_holds_each_prefix_of_its_completions_once():
    tree = PrefixTree([1, 2], [[3, 4, 5], [3, 6], [3, 4, 7, 8], [9], []])
    assert tree.tokens == [1, 2, 3, 4, 7] and tree.parents == [-1, 0, 1, 2, 3]
    assert tree.places == [[1, 2, 3], [1, 2], [1, 2, 3, 4], [1], []]
    apart = PrefixTree([1], [[2, 3, 4], [3, 2, 4]])
    assert apart.tokens == [1, 2, 3, 3, 2] and apart.parents == [-1, 0, 1, 0, 3]
    assert [row.nonzero()[0].tolist() for row in apart.visible()] == [[0], [0, 1], [0, 1, 2], [0, 3], [0, 3, 4]]


@pytest.mark.parametrize(
    ("model", "attention", "takes"),
    [
        ("llama", "sdpa", True),
        ("qwen3", "sdpa", True),
        ("gpt2", "sdpa", True),
        ("llama", "eager", False),  # which keeps the scores of all pairs of nodes
        ("gemma3_text", "sdpa", False),  # windows
        ("qwen3_5_text", "sdpa", False),  # states
        ("falcon", "sdpa", False),  # its positions may come from a mask of another shape
        ("stablelm", "sdpa", False),
        ("gpt_neo", "eager", False),  # the only attention of these three, with windows or positions of its own
        ("bloom", "eager", False),
        ("mpt", "eager", False),
    ],
)
def test_trees_are_for_models_that_take_any_mask_and_any_positions(model, attention, takes):
    config = AutoConfig.for_model(model, attn_implementation=attention)
    with torch.device("meta"):
        causal_lm = AutoModelForCausalLM.from_config(config)
    assert prefix_tree.takes_trees(causal_lm) == takes


def test_trees_are_no_larger_than_what_they_replace():
    sharp, broad = PrefixTree([1, 2], [[3, 4, 5]]), PrefixTree([1, 2], [[3, 4, 5], [4, 4, 5]])
    assert prefix_tree.are_small([sharp, broad], 12) and not prefix_tree.are_small([sharp, broad], 11)
    long = PrefixTree([1], [[2] * 1025])
    assert not prefix_tree.are_small([long], 10**6) and prefix_tree.are_small([PrefixTree([1], [[2] * 1024])], 10**6)


STATES = {  # a state in some layers, in some layers beside attention, in each layer
    "qwen3_5_text": {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "head_dim": 8, "num_hidden_layers": 4},
    "lfm2": {"layer_types": ["conv", "full_attention"], "num_hidden_layers": 2},
    "falcon_h1": {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "num_hidden_layers": 2},
}
STATES["qwen3_5_text"] |= {"linear_key_head_dim": 8, "linear_value_head_dim": 8}


def with_states(model: str, checkpointing: bool) -> LanguagePolicy:
    shared = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "eos_token_id": 1}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    causal_lm = AutoModelForCausalLM.from_config(AutoConfig.for_model(model, **shared, **heads, **STATES[model]))
    return LanguagePolicy(causal_lm, SimpleNamespace(eos_token_id=1), HFEngine([1], 64), 0.3, checkpointing, ())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("model", STATES)
def test_layers_with_a_state_give_what_each_completion_has_alone(model, checkpointing):
    policy, prompts, k, length = with_states(model, checkpointing), CASES["of different lengths"], 3, 4
    uniforms = torch.rand(len(prompts) * k, length, generator=torch.Generator().manual_seed(0))
    drawn = policy.complete(prompts, k, uniforms)
    is_token = torch.arange(length) < drawn.lengths.unsqueeze(1)
    tokens = torch.where(is_token, drawn.tokens, -1)
    logp = policy.logp(padded(prompts, left=True).unsqueeze(0), tokens.view(1, len(prompts), k, length)).flatten(0, 2)
    assert_close(logp, torch.where(is_token, drawn.logp, 0))
    weight = torch.arange(1.0, 1 + logp.numel()).view_as(logp)
    found = torch.autograd.grad((logp * weight).sum(), list(policy.parameters()))
    alone = torch.zeros_like(logp)
    for i, row in enumerate(tokens):
        prompt, completion = prompts[i // k], row[row >= 0]
        states = policy.model(torch.tensor([[*prompt, *completion]]), use_cache=False).logits[0, len(prompt) - 1 : -1]
        one = states.log_softmax(-1).gather(1, completion.unsqueeze(1)).squeeze(1)
        alone = alone + torch.zeros_like(alone).index_put((torch.tensor(i), torch.arange(len(one))), one)
    assert_close(logp, alone)
    expected = torch.autograd.grad((alone * weight).sum(), list(policy.parameters()))
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() < 1e-4 * theirs.norm()


@pytest.mark.parametrize("model", ["mamba", "mamba2", "falcon_mamba", "recurrent_gemma", "rwkv", "xlstm"])
def test_a_model_whose_states_are_not_in_the_cache_is_refused(model):
    with torch.device("meta"):
        causal_lm = AutoModelForCausalLM.from_config(AutoConfig.for_model(model))
    with pytest.raises(ValueError, match=r"model.path=NAME: \w+ForCausalLM keeps its state outside"):
        pretrained.check_states(causal_lm, "NAME")


def test_a_prefix_passes_once_for_all_parts_of_a_rollout(policy, passed, monkeypatch):
    monkeypatch.setattr(policy.engine, "rows", 4)
    prompts = CASES["of different lengths"]
    policy.complete(prompts, 4, torch.full((12, 1), torch.nan))
    assert passed == [(1, 21), (1, 2), (1, 1), (1, 5)]


def test_a_prompt_passes_once_for_sampled_and_likeliest_completions(policy, passed):
    prompts = CASES["of different lengths"]
    uniforms = with_greedy(torch.rand(3, 4, 3, generator=torch.Generator().manual_seed(0)))
    both = policy.complete(prompts, 5, uniforms.flatten(0, 1))
    assert [rows for rows, tokens in passed if tokens > 1] == [1, 3]
    likeliest = policy.complete(prompts, 1, uniforms[:, 4])
    sampled = policy.complete(prompts, 4, uniforms[:, :4].flatten(0, 1))
    for field in ("tokens", "lengths", "truncated", "logp"):
        found = getattr(both, field).unflatten(0, (3, 5))
        assert_close(found[:, 4], getattr(likeliest, field))
        assert_close(found[:, :4].flatten(0, 1), getattr(sampled, field))


def test_a_model_that_attends_to_the_last_tokens_only_passes_whole_prompts(policy, passed, monkeypatch):
    config = policy.model.config
    monkeypatch.setattr(config, "layer_types", ["sliding_attention"] * config.num_hidden_layers)
    monkeypatch.setattr(config, "sliding_window", 8)
    monkeypatch.setattr(policy.model.get_decoder(), "has_sliding_layers", True)
    policy.complete(CASES["of different lengths"], 1, torch.full((3, 1), torch.nan))
    assert passed == [(3, 26)]
