"""The vLLM engine: what it draws is what the model that learns would, before and after a push."""

import copy
import sys
from types import SimpleNamespace

import pytest
import torch

from rollouts.vllm import VLLMEngine
from rollouts.weights import checkpoint_weights
from store.runs import RunStore

EOS, LENGTH, K = 2, 12, 4
PROMPTS = [[1, *range(3, 60)] * 3, [1, 9, 10]]  # the first fills a block of the prefix cache
CLOSE = 1e-4  # nats, in float32


def qwen3(tied: bool):
    from transformers import AutoModelForCausalLM, Qwen3Config

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 32}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": tied}
    tokens = {"vocab_size": 64, "bos_token_id": 1, "eos_token_id": EOS, "pad_token_id": 0}
    config = Qwen3Config(**sizes, **heads, **tokens, max_position_embeddings=256, initializer_range=0.2)
    return AutoModelForCausalLM.from_config(config).eval()


def new_engine() -> VLLMEngine:
    return VLLMEngine([EOS], rows=32, memory=0.3, window=None, eager=False)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def pair(request):
    """An engine, and the model that it was given."""
    model, engine = qwen3(request.param), new_engine()
    engine.push(model)
    return engine, model


def uniforms(seed: int = 0) -> torch.Tensor:
    return torch.rand(len(PROMPTS) * K, LENGTH, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def mismatch(engine, model, numbers: torch.Tensor) -> float:
    """Largest |log-prob of the engine - that of the model| over all tokens that the engine draws."""
    drawn, worst = engine.generate(PROMPTS, K, numbers), 0.0
    for i, n in enumerate(drawn.lengths.tolist()):
        prompt, tokens = PROMPTS[i // K], drawn.tokens[i, :n]
        table = model(torch.tensor([prompt + tokens.tolist()])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        ours = table.gather(1, tokens.unsqueeze(1)).squeeze(1)
        worst = max(worst, (ours - drawn.logp[i, :n]).abs().max().item())
    return worst


def learn(model) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    model(torch.tensor([PROMPTS[0]]), labels=torch.tensor([PROMPTS[0]])).loss.backward()
    optimizer.step()


@pytest.mark.vllm
def test_engine_gives_the_log_probs_of_the_model(pair):
    engine, model = pair
    assert mismatch(engine, model, uniforms()) < CLOSE
    assert mismatch(engine, model, torch.full_like(uniforms(), torch.nan)) < CLOSE


@pytest.mark.vllm
def test_completions_end_at_eos_or_are_cut(pair):
    engine, _ = pair
    drawn = engine.generate(PROMPTS * 8, K, torch.rand(16 * K, LENGTH))
    assert drawn.tokens.shape == drawn.logp.shape == (16 * K, LENGTH)
    last = drawn.tokens.gather(1, drawn.lengths.unsqueeze(1) - 1).squeeze(1)
    assert torch.equal(drawn.truncated, last != EOS)
    assert (drawn.lengths[drawn.truncated] == LENGTH).all() and drawn.lengths.min() >= 1
    beyond = torch.arange(LENGTH) >= drawn.lengths.unsqueeze(1)
    assert beyond.any() and not drawn.tokens[beyond].any() and not drawn.logp[beyond].any()
    assert not (drawn.tokens[:, :-1] == EOS)[torch.arange(1, LENGTH) < drawn.lengths.unsqueeze(1)].any()


@pytest.mark.vllm
def test_the_same_numbers_give_the_same_completions_whatever_is_drawn_beside(pair):
    engine, _ = pair
    numbers = uniforms()
    together = engine.generate(PROMPTS, K, numbers).tokens
    assert torch.equal(together, engine.generate(PROMPTS, K, numbers).tokens)
    assert torch.equal(together[K:], engine.generate(PROMPTS[1:], K, numbers[K:]).tokens)
    assert not torch.equal(together, engine.generate(PROMPTS, K, uniforms(1)).tokens)
    assert len({tuple(row) for row in together.tolist()}) == len(together)


@pytest.mark.vllm
def test_likeliest_tokens_are_those_of_the_model(pair):
    engine, model = pair
    found = engine.generate(PROMPTS[1:], 1, torch.full((1, LENGTH), torch.nan))
    theirs = model.generate(torch.tensor(PROMPTS[1:]), max_new_tokens=LENGTH, do_sample=False)[0, len(PROMPTS[1]) :]
    assert found.tokens[0, : found.lengths[0]].tolist() == theirs.tolist()


@pytest.mark.vllm
def test_a_push_after_an_optimiser_step_is_complete(pair):
    engine, model = pair
    for _ in range(2):
        learn(model)
        assert mismatch(engine, model, uniforms()) > 0.1
        engine.push(model)
        assert mismatch(engine, model, uniforms()) < CLOSE


@pytest.mark.vllm
def test_a_push_drops_keys_and_values_of_older_weights(pair):
    engine, model = pair
    mismatch(engine, model, uniforms())  # fills the prefix cache
    learn(model)
    engine.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": checkpoint_weights(model)})
    assert mismatch(engine, model, uniforms()) > 0.1
    engine.push(model)
    assert mismatch(engine, model, uniforms()) < CLOSE


@pytest.mark.vllm
def test_adapters_are_pushed_with_the_model_below_them(pair):
    engine, model = pair
    adapted = with_adapters(copy.deepcopy(model))
    engine.push(adapted)
    assert mismatch(engine, model, uniforms()) > 0.01
    assert mismatch(engine, adapted, uniforms()) < CLOSE
    engine.push(model)
    assert mismatch(engine, model, uniforms()) < CLOSE


@pytest.mark.vllm
def test_a_completion_beyond_the_window_is_refused(pair):
    engine, _ = pair
    with pytest.raises(ValueError, match="vllm_window=256: a prompt with its completion has 274 tokens"):
        engine.generate(PROMPTS, K, torch.rand(2 * K, 100))


@pytest.mark.vllm
def test_a_closed_engine_starts_again():
    model, engine = qwen3(True), new_engine()
    engine.push(model)
    first = engine.generate(PROMPTS, K, uniforms())
    engine.close()
    engine.close()
    assert engine.llm is None
    engine.push(model)
    assert torch.equal(engine.generate(PROMPTS, K, uniforms()).tokens, first.tokens)
    engine.close()


@pytest.mark.vllm
def test_a_run_learns_from_what_the_engine_draws(cli, tmp_path):
    sizes = ("model.layers=2", "model.hidden=64", "model.mlp=128", "model.warm_accuracy=0")
    length = ("train.steps=5", "train.eval_problems=8", "env.batch=4", "env.candidates=4")
    # an untrained model has no answer right, and tpo_no_anchor learns from such groups too
    learns = ("algo=tpo_no_anchor", "optim.lr=1e-3", "train.kl_beta=1e-3")
    code, out = cli("env=arithmetic", "model.engine=vllm", "seeds=2", *learns, *sizes, *length)
    assert code == 0, out
    (run,) = RunStore(tmp_path / "runs").runs()
    assert run.seeds_done() == [0, 1]
    found = run.frame().query("seed == 0").pivot(index="step", columns="metric", values="value")
    mismatches = found.engine_mismatch.dropna()
    assert mismatches.index.tolist() == [1, 2, 3, 4, 5] and mismatches.max() < CLOSE
    assert found.kl_reference.iloc[-1] > 0.01  # so that later steps drew from weights that were pushed


def with_adapters(model):
    """LoRA that changes what the model says, without what is random at its start."""
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.1)
    return adapted.eval()


@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_those_of_a_checkpoint_with_its_adapters_merged(tied):
    plain = qwen3(tied)
    adapted = with_adapters(copy.deepcopy(plain))
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    pushed = dict(checkpoint_weights(adapted))
    assert pushed.keys() == plain.state_dict().keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in adapted.state_dict().items())
    tokens = torch.tensor(PROMPTS[1:])
    expected = adapted(tokens).logits
    assert not torch.allclose(plain(tokens).logits, expected, atol=0.01)
    plain.load_state_dict(pushed)
    assert torch.allclose(plain(tokens).logits, expected, atol=1e-4)


def test_missing_vllm_names_both_of_its_builds(monkeypatch, cli):
    monkeypatch.setitem(sys.modules, "vllm", None)
    code, out = cli("env=arithmetic", "model.engine=vllm")
    assert code == 2
    assert all(text in out for text in ("model.engine=vllm", ".[vllm]", "make .venv-vllm/installed", "model.engine=hf"))


@pytest.mark.parametrize(("said", "reason"), [("", "RuntimeError"), ("Traceback\nno memory\n", "no memory")])
def test_an_engine_that_does_not_start_says_why(monkeypatch, said, reason):
    def start(**settings):
        raise RuntimeError(said)

    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=start))
    with pytest.raises(RuntimeError, match=rf"does not start with vllm_memory=0.3, vllm_window=None \({reason}\)"):
        new_engine().push(qwen3(tied=True))
