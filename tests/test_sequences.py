"""Sequence tasks: rewards, candidate layouts, the transformer's shortcuts against its plain forward, the optimiser."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from conf.fit import MisfitError
from envs.sequence import TokenReversal
from models.transformer import Transformer, TransformerConfig, initial_parameters, parameter_shapes
from models.trie import TileMap, build_prompt_trie, build_trie
from tests.helpers import SMALL, accumulate_gradient, algorithm_kinds, experiment, has_rewards_for, objective
from training.config import TrainConfig
from training.experiment import build
from training.loop import Trainer
from training.muon import AdamWConfig, MuonAdamW, MuonConfig, orthogonalize
from training.noise import Noise
from training.optim import AdamConfig, NormalizedConfig, SGDConfig
from training.samplers.answers import group_rollouts, single_rollout, token_group

PROMPT = torch.tensor([[[0, 1, 2]]])
ANSWERS = {"copy": [0, 1, 2], "flip": [2, 1, 0], "reverse_copy": [2, 1, 0], "reverse_flip": [0, 1, 2]}


@pytest.mark.parametrize("target", ANSWERS)
def test_targets(target):
    env = TokenReversal(target=target, horizon=3, vocab=3)
    assert env.answer(PROMPT)[0, 0].tolist() == ANSWERS[target]


@pytest.mark.parametrize(
    ("reward", "expected"), [("bag_of_tokens", [1, 0, 1]), ("sequential", [1, 0, 0]), ("terminal", [0, 0, 0])]
)
def test_rewards(reward, expected):
    env = TokenReversal(target="copy", reward=reward, horizon=3, vocab=3)
    answers = torch.tensor([[[[0, 0, 2], [0, 1, 2]]]])
    assert env.score(PROMPT, answers)[0, 0].tolist() == [expected, [1, 1, 1]]


def test_next_tokens_are_scored_after_the_prefix_of_the_behaviour():
    tokens = torch.tensor([[[[0, 1], [0, 1], [2, 0]]]])  # (S,B,H,K): the behaviour is 0, 0, 2
    bag = TokenReversal(target="copy", reward="bag_of_tokens", horizon=3, vocab=3)
    sequential = TokenReversal(target="copy", reward="sequential", horizon=3, vocab=3)
    assert bag.score_tokens(PROMPT, tokens)[0, 0].tolist() == [[1, 0], [0, 1], [1, 0]]
    assert sequential.score_tokens(PROMPT, tokens)[0, 0].tolist() == [[1, 0], [0, 1], [0, 0]]


def policy(vocab=3, horizon=4, seeds=2, **cfg) -> Transformer:
    cfg = TransformerConfig(**{"d_model": 16, "heads": 2, "layers": 2} | cfg)
    return Transformer(cfg, initial_parameters(cfg, vocab, 2 * horizon, Noise(tuple(range(seeds)))))


def drawn(model, env, noise):
    uniforms = noise.uniform("action", env.batch * env.candidates * env.horizon)
    return model.generate(env.contexts(noise), uniforms.view(-1, env.batch, env.candidates, env.horizon))


@pytest.mark.parametrize(("heads", "batch"), [(1, 5), (2, 5), (4, 5), (2, 60)])
def test_shortcuts_equal_the_plain_forward(heads, batch):
    """Shared prompts, cached keys, and equal prefixes computed once: log-probs and gradients of the plain forward."""
    model, noise = policy(heads=heads), Noise((0, 1))
    env = TokenReversal(horizon=4, vocab=3, batch=batch, candidates=6)
    prompts = env.contexts(noise)
    answers, table = drawn(model, env, noise)
    strings = torch.cat([prompts.unsqueeze(2).expand_as(answers), answers], dim=-1)
    plain = model(strings.flatten(1, 2))[:, :, 3:-1].view(table.shape)
    assert_close(table, plain, atol=1e-5, rtol=0)
    assert_close(model.table(prompts, answers), plain, atol=1e-5, rtol=0)
    weights = torch.randn(plain.shape, generator=torch.Generator().manual_seed(0))
    params = list(model.parameters())
    quick = torch.autograd.grad((model.table(prompts, answers) * weights).sum(), params)
    slow = torch.autograd.grad((plain * weights).sum(), params)
    for a, b in zip(quick, slow, strict=True):
        assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_draws_follow_the_table():
    model, noise = policy(vocab=2, horizon=1, seeds=1), Noise((0,))
    env = TokenReversal(horizon=1, vocab=2, batch=2, candidates=4000)
    answers, table = drawn(model, env, noise)
    assert_close(answers.float().mean(2)[..., 0], table[:, :, 0, 0, 1].exp(), atol=0.03, rtol=0)


def test_a_trie_holds_each_prefix_once():
    answers = torch.tensor([[[[0, 1, 1], [0, 1, 0], [0, 1, 1]], [[2, 0, 0], [1, 0, 0], [0, 2, 2]]]])
    nodes = build_trie(answers)
    assert nodes.tokens.shape == (1, 4 + 9) and nodes.attends_to.shape == (1, 2, 9, 9)
    assert torch.equal(nodes.tokens.gather(1, nodes.places.flatten(1)), answers.flatten(1))
    assert torch.equal(nodes.depths.gather(1, nodes.places.flatten(1)).view(answers.shape)[0, 1, 2], torch.arange(3))
    assert torch.equal(nodes.places[0, 0, 0], nodes.places[0, 0, 2])
    assert torch.equal(nodes.places[0, 0, 1, :2], nodes.places[0, 0, 0, :2])
    assert nodes.places[0, 0, 1, 2] != nodes.places[0, 0, 0, 2]
    in_tiles = nodes.slots[0][nodes.places]
    for prompt in range(2):
        for places in in_tiles[0, prompt] - 9 * prompt:
            for depth in range(3):
                seen = nodes.attends_to[0, prompt, places[depth]].nonzero().flatten()
                assert seen.tolist() == places[: depth + 1].tolist()
    below = build_trie(answers, start=1)
    assert torch.equal(below.tokens.gather(1, below.places.flatten(1)), answers[..., 1:].flatten(1))
    assert below.attends_to.shape == (1, 2, 6, 9)


def test_rows_and_tiles_are_each_others_inverse_and_gradient():
    answers = torch.randint(0, 2, (3, 4, 5, 3), generator=torch.Generator().manual_seed(0))
    nodes, heads, width = build_trie(answers), 2, 3
    tile_map = TileMap(nodes, heads)
    x = torch.randn(3, nodes.tokens.shape[1], 3 * heads * width, dtype=torch.float64, requires_grad=True)
    parts = x.view(*x.shape[:2], 3, -1)
    for part in range(3):
        assert torch.equal(tile_map.to_rows(tile_map.to_tiles(x)[part]), parts[:, :, part])

    def read(x):  # through the tiles, by what the answers point to
        rows = tile_map.to_rows(tile_map.to_tiles(x).sin().prod(0))
        return rows.gather(1, nodes.places.flatten(1).unsqueeze(-1).expand(-1, -1, heads * width))

    assert torch.autograd.gradcheck(read, x)


def test_prompts_share_the_rows_of_equal_prefixes():
    strings = torch.tensor([[[0, 1, 1], [0, 1, 0], [0, 1, 1]], [[2, 0, 0], [1, 0, 0], [0, 2, 2]]])
    nodes = build_prompt_trie(strings, vocab=3)
    assert nodes.tokens.shape == (2, 9)
    assert torch.equal(nodes.tokens.gather(1, nodes.places.flatten(1)), strings.flatten(1))
    assert nodes.places[0].unique().numel() == 4 and nodes.places[1].unique().numel() == 9
    assert build_prompt_trie(strings, vocab=3**20).tokens.shape == (2, 9)


def test_initialisation_is_flax_like():
    cfg = TransformerConfig()
    params = initial_parameters(cfg, 16, 20, Noise(tuple(range(20))))
    assert {name: tuple(p.shape[1:]) for name, p in params.items()} == parameter_shapes(cfg, 16, 20)
    for name, std in {"embed": 1 / 8, "position": 0.02, "0.query.kernel": 1 / 8, "0.out.kernel": 1 / 8}.items():
        assert params[name].std().item() == pytest.approx(std, rel=0.03)
        assert params[name].mean().item() == pytest.approx(0, abs=std / 20)
    assert params["0.up.kernel"].abs().max() <= 2.28 / 8 and params["1.down.kernel"].std() == pytest.approx(
        1 / 16, rel=0.03
    )
    assert (params["norm.scale"] == 1).all() and (params["0.up.bias"] == 0).all()


def test_layouts_split_parameters_as_flax_and_as_torch():
    model = policy()

    def matrices(split):
        shapes = model.optimizer_shapes(split)
        assert set(shapes) == dict(model.named_parameters()).keys()
        return {name.removeprefix("params.") for name, shape in shapes.items() if len(shape) == 2}

    flax, torch_rule = matrices("flax"), matrices("torch")
    assert {"embed", "position", "0/up/kernel", "0/down/kernel", "head/kernel", "0/query/bias"} <= flax
    assert not {"0/query/kernel", "0/out/kernel", "0/out/bias", "norm/scale"} & flax
    assert {"embed", "position", "0/query/kernel", "0/out/kernel", "0/up/kernel"} <= torch_rule
    assert not {"0/query/bias", "0/out/bias", "norm/scale"} & torch_rule


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6)])
def test_orthogonalize_levels_singular_values_per_matrix(shape):
    x = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(orthogonalize(x))
    assert ((singular > 0.3) & (singular < 1.3)).all()
    assert_close(orthogonalize(x)[2], orthogonalize(x[2:3])[0])


def test_muon_steps_are_per_seed_and_skip_frozen_seeds():
    start = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))
    grads = torch.randn(5, 3, 4, 6, generator=torch.Generator().manual_seed(1))

    def run(seeds, alive):
        p = torch.nn.Parameter(start[seeds].clone())
        optimizer = MuonAdamW([(p, (4, 6))], lr=0.1, momentum=0.95)
        for g in grads:
            p.grad = g[seeds].clone()
            optimizer.step(torch.tensor(alive), optimizer.grad_norm())
        return p.detach()

    together = run([0, 1, 2], [True, False, True])
    assert_close(together[2], run([2], [True])[0])
    assert torch.equal(together[1], start[1])


@pytest.mark.parametrize("config", [MuonConfig(), AdamWConfig(), AdamConfig(), SGDConfig(), NormalizedConfig()])
def test_a_frozen_seed_stays_as_it_is_whatever_its_gradient(config):
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix, self.bias = torch.nn.Parameter(torch.ones(2, 3, 4)), torch.nn.Parameter(torch.ones(2, 3))

        def optimizer_shapes(self, split):
            return {"matrix": (3, 4), "bias": (3,)}

    policy = Two()
    optimizer = config.build(policy)
    for worst in (torch.inf, torch.nan):
        for p in policy.parameters():
            p.grad = torch.ones_like(p)
            p.grad[1] = worst
        optimizer.step(torch.tensor([True, False]), optimizer.grad_norm())
    for p in policy.parameters():
        assert (p[1] == 1).all() and p[0].isfinite().all() and (p[0] < 1).all()


def test_muon_is_torch_muon_per_slice_up_to_its_bias_correction():
    """After many equal gradients both averages have converged, and only the orthogonalised direction is left."""
    g = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    ours, theirs = torch.nn.Parameter(torch.zeros(1, 6, 4)), torch.nn.Parameter(torch.zeros(6, 4))
    a = MuonAdamW([(ours, (6, 4))], lr=0.1, momentum=0.95)
    b = torch.optim.Muon([theirs], lr=0.1, momentum=0.95, weight_decay=0.0)
    for _ in range(3):
        ours.grad, theirs.grad = g.clone(), g[0].clone()
        a.step(torch.tensor([True]), a.grad_norm())
        b.step()
    cosine = torch.cosine_similarity(ours.detach().flatten(), theirs.detach().flatten(), dim=0)
    assert cosine > 0.999  # theirs runs Newton-Schulz in bfloat16


@pytest.mark.parametrize(("sampler", "k"), [(single_rollout, 1), (group_rollouts, 6)])
def test_rollouts_of_answers(sampler, k):
    model, noise, env = policy(), Noise((0, 1)), TokenReversal(horizon=4, vocab=3, batch=5, candidates=6)
    rollout = sampler(env, model, noise)
    assert rollout.batch.logp_old.shape == rollout.batch.reward.shape == (2, 5, k, 4)
    assert_close(rollout.batch.advantage.mean((1, 2)), torch.zeros(2, 4), atol=1e-6, rtol=0)
    assert_close(rollout.logp(model), rollout.batch.logp_old, atol=1e-5, rtol=0)
    assert_close(rollout.metrics["error"], 1 - rollout.batch.reward.mean((1, 2, 3)))


def test_rollouts_of_next_tokens():
    model, noise = policy(), Noise((0, 1))
    env = TokenReversal(reward="bag_of_tokens", horizon=4, vocab=3, batch=5, candidates=6)
    rollout = token_group(env, model, noise)
    assert rollout.batch.score.shape == (2, 5 * 4, 6)
    assert_close(rollout.logp(model), rollout.batch.logp_old, atol=1e-5, rtol=0)
    assert_close(rollout.metrics["error"], 1 - rollout.batch.score[..., 0].mean(1))


def test_interaction_matching_gives_single_sample_methods_more_and_groups_the_same(tmp_path):
    settings = ("env=terminal_reversal", "env.candidates=4")
    ppo = experiment(tmp_path, *settings, "algo=ppo", "match=interactions")
    tpo = experiment(tmp_path, *settings, "algo=tpo", "match=interactions")
    assert (ppo.env.batch, ppo.optim.lr) == (400, pytest.approx(2e-3))
    assert (tpo.env.batch, tpo.optim.lr) == (100, pytest.approx(1e-3))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("env=terminal_reversal", "algo=tpo", "sampler=token_group"), "whole answers"),
        (("env=dense_reversal", "algo=ppo", "sampler=token_group"), "next tokens"),
        (("env=sparse_bandit", "match=interactions"), "match=prompts"),
        (("env=terminal_reversal", "algo=grpo", "env.candidates=1"), "env.candidates=1: must be >= 2"),
    ],
)
def test_what_does_not_fit_says_why(tmp_path, overrides, reason):
    with pytest.raises(MisfitError, match=reason):
        experiment(tmp_path, *overrides)


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("env.target=revers", "reverse_copy"),
        ("env.reward=dense", "bag_of_tokens"),
        ("env.horizon=0", "from 1 to 10000"),
        ("env.horizon=1000000000", "from 1 to 10000"),
        ("env.vocab=1", "from 2 to 16777216"),
        ("env.vocab=1000000000", "from 2 to 16777216"),
        ("model.heads=3", "divisible"),
        ("optim.split=keras", "flax or torch"),
        ("sampler=tokens", "token_group"),
        ("match=all", "interactions"),
    ],
)
def test_bad_settings_are_refused(cli, override, text):
    code, out = cli("env=dense_reversal", override)
    assert code == 2 and text in out and "Traceback" not in out


def test_learns_to_copy_two_tokens(tmp_path):
    overrides = (
        "env=dense_reversal",
        "env.horizon=2",
        "env.batch=32",
        "env.candidates=4",
        "model.d_model=16",
        "model.layers=1",
    )
    exp = experiment(tmp_path, *overrides, "train.steps=100", "optim.lr=3e-3")
    errors = build(exp, (0, 1, 2, 3)).run().arrays()["error"]
    assert errors[0].mean() > 0.4 and errors[-20:].mean() < 0.2  # a seed may sit at a half-right answer


def test_a_checkpoint_of_a_sequence_task_continues_the_same_curve(tmp_path):
    exp = experiment(tmp_path, "env=token_reversal", *SMALL["token_reversal"], "train.steps=8")
    whole, first, second = (build(exp, (0, 1)) for _ in range(3))
    expected = whole.run().arrays()["error"]
    for _ in range(4):
        first.train_step()
    second.load_state_dict(first.state_dict())
    assert (second.run().arrays()["error"] == expected).all()


@pytest.mark.parametrize(("sampler", "algo"), [("auto", "tpo"), ("auto", "ppo"), ("token_group", "grpo")])
def test_micro_batches_change_no_curve(tmp_path, sampler, algo):
    settings = ("env=dense_reversal", *SMALL["dense_reversal"], f"sampler={sampler}", f"algo={algo}", "train.steps=6")
    curves = []
    for size in ("null", "4"):
        exp = experiment(tmp_path, *settings, f"train.micro_batch={size}", "train.diagnostics=true")
        trainer = build(exp, (0, 1))
        trainer.policy.double()
        trainer.optimizer = exp.optim.build(trainer.policy)
        curves.append(trainer.run().arrays())
    for found in curves[1:]:
        for metric, values in curves[0].items():
            assert found[metric] == pytest.approx(values, abs=1e-6)


def test_muon_defaults_are_the_papers():
    assert (MuonConfig().lr, MuonConfig().momentum, MuonConfig().split) == (1e-3, 0.95, "flax")


COMPARING = [algo for algo in algorithm_kinds() if objective(algo).sampler in ("group", "set")]
SAMPLED = [("auto", algo) for algo in algorithm_kinds() if has_rewards_for("token_reversal", algo)]


@pytest.mark.parametrize(("sampler", "algo"), SAMPLED + [("token_group", algo) for algo in COMPARING])
def test_what_has_no_gradient_is_not_computed_and_not_missed(tmp_path, algo, sampler):
    """Flat contexts, groups of equal candidates, micro-batches: each epoch's gradient is that of the plain way."""
    settings = ("env=dense_reversal", *SMALL["dense_reversal"], "env.horizon=2", "env.batch=12")
    if sampler == "auto":
        settings += ("env.reward=terminal",)
    exp = experiment(tmp_path, *settings, f"algo={algo}", f"sampler={sampler}")
    trainer = build(exp, (0, 1, 2))
    policy = trainer.policy.double()
    rollout = trainer.rollout(trainer.noise)
    in_parts = Trainer(
        exp.env, policy, exp.objective, SGDConfig().build(policy), trainer.noise, TrainConfig(micro_batch=5), sampler
    )
    asked = []
    spied = dataclasses.replace(
        rollout, logp=lambda policy, rows=None: asked.append(rows) or rollout.logp(policy, rows)
    )
    for first in (True, False):
        params, active_rows = list(policy.parameters()), rollout.active_rows(exp.objective, first)
        quick, plain = (
            torch.autograd.grad(exp.objective.loss(logp, rollout.batch)[0].sum(), params)
            for logp in (spied.logp_of_active_rows(active_rows, policy), rollout.logp(policy))
        )
        accumulate_gradient(in_parts, rollout, on_policy=first)
        for p, *others in zip(params, quick, plain, strict=True):
            for found in (others[0], p.grad):
                assert_close(found, others[1], atol=1e-12, rtol=1e-9)
        with torch.no_grad():
            for p in params:
                p += 0.01 * p.abs().mean() * torch.linspace(-1, 1, p.numel(), dtype=p.dtype).view(p.shape)
    if exp.objective.zero_variance_gradient == "none" and sampler == "auto" and exp.objective.sampler != "single":
        assert all(rows.shape[1] < 12 for rows in asked)
