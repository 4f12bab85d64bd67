"""A small causal transformer over token strings, one set of parameters per seed, all seeds in one batched program."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from algorithms.base import require, softmax
from models.autoregressive import AutoregressivePolicy
from models.base import ForwardCache, ModelConfig, lecun_normal, take_rows
from models.trie import ChainMap, TileMap, Trie, build_prompt_trie, build_trie

Weights = dict[str, tuple[Tensor, Tensor]]  # {dense layer: (matrix (S,in,out), bias (S,1,out))}
Cache = list[tuple[Tensor, Tensor]]  # keys and values (S,P,heads,T,head_dim) of each layer
# float32 numbers that the processor computes at once
VECTOR = 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8


@dataclass(frozen=True)
class TransformerConfig(ModelConfig):
    """Decoder-only, pre-norm, learned positions, tanh-GELU, biases everywhere; defaults as in the released code.

    Raises ValueError for a size below 1 or a d_model that the heads do not divide.
    """

    name = "transformer"
    context_type = "tokens"

    d_model: int = 64
    heads: int = 2
    layers: int = 2
    mlp_ratio: int = 4

    def __post_init__(self):
        for key in ("d_model", "heads", "layers", "mlp_ratio"):
            require(getattr(self, key) >= 1, key, getattr(self, key), ">= 1")
        require(self.d_model % self.heads == 0, "d_model", self.d_model, f"divisible by heads={self.heads}")

    def build(self, spec, noise) -> "Transformer":
        return Transformer(self, initial_parameters(self, spec.actions, 2 * spec.horizon, noise))


def parameter_shapes(cfg: TransformerConfig, vocab: int, positions: int) -> dict[str, tuple[int, ...]]:
    """{parameter: shape of one seed}, in the Flax layout, where a kernel of attention keeps its heads apart."""
    d, h, hd, m = cfg.d_model, cfg.heads, cfg.d_model // cfg.heads, cfg.d_model * cfg.mlp_ratio
    found = {"embed": (vocab, d), "position": (positions, d)}
    for i in range(cfg.layers):
        found |= {f"{i}.norm1.scale": (d,), f"{i}.norm1.bias": (d,), f"{i}.norm2.scale": (d,), f"{i}.norm2.bias": (d,)}
        for part in ("query", "key", "value"):
            found |= {f"{i}.{part}.kernel": (d, h, hd), f"{i}.{part}.bias": (h, hd)}
        found |= {f"{i}.out.kernel": (h, hd, d), f"{i}.out.bias": (d,)}
        found |= {f"{i}.up.kernel": (d, m), f"{i}.up.bias": (m,), f"{i}.down.kernel": (m, d), f"{i}.down.bias": (d,)}
    return found | {"norm.scale": (d,), "norm.bias": (d,), "head.kernel": (d, vocab), "head.bias": (vocab,)}


def initial_parameters(cfg: TransformerConfig, vocab: int, positions: int, noise) -> dict[str, Tensor]:
    """Flax's defaults: kernels LeCun normal truncated at two std, embedding variance 1/d_model, positions std 0.02."""
    wanted = parameter_shapes(cfg, vocab, positions)
    sizes = {name: math.prod(shape) for name, shape in wanted.items()}
    uniform = noise.uniform("init", sum(sizes.values())).split(list(sizes.values()), dim=1)
    return {name: _initial(name, wanted[name], u) for name, u in zip(wanted, uniform, strict=True)}


def _initial(name: str, shape: tuple[int, ...], uniform: Tensor) -> Tensor:
    full = (uniform.shape[0], *shape)
    if name.endswith("scale"):
        return torch.ones(full, device=uniform.device)
    if name.endswith("bias"):
        return torch.zeros(full, device=uniform.device)
    if name.endswith("kernel"):
        fan_in = math.prod(shape[:-1]) if ".out." in name else shape[0]
        return lecun_normal(uniform, fan_in).view(full)
    std = 0.02 if name == "position" else shape[-1] ** -0.5
    return (torch.special.ndtri(uniform.double().clamp(1e-9, 1 - 1e-9)) * std).float().view(full)


def _matrix(name: str, value: Tensor) -> Tensor:
    """A kernel as the matrix (S, in, out) that multiplies, a bias as a row (S, 1, out)."""
    if name.endswith("out.kernel"):
        return value.flatten(1, 2).contiguous()
    if name.endswith("kernel"):
        return value.flatten(2).contiguous()
    if name in ("embed", "position"):
        return value.contiguous()
    return value.flatten(1).unsqueeze(1).contiguous()


class Transformer(AutoregressivePolicy):
    """Log-probs of answers (S,B,K,H) to prompts (S,B,H); the K answers share the keys and values of their prompt."""

    def __init__(self, cfg: TransformerConfig, params: dict[str, Tensor]):
        super().__init__()
        self.cfg = cfg
        self.flax_shapes = {name: tuple(value.shape[1:]) for name, value in params.items()}
        matrices = {name: _matrix(name, value) for name, value in params.items()}
        self.params = nn.ParameterDict({name.replace(".", "/"): nn.Parameter(v) for name, v in matrices.items()})
        self._read = ForwardCache()

    def optimizer_shapes(self, split: str) -> dict[str, tuple[int, ...]]:
        shapes = self.flax_shapes
        if split == "torch":
            matrix = {n: n.endswith("kernel") or n in ("embed", "position") for n in shapes}
            shapes = {n: tuple(self.p(n).shape[1:]) if matrix[n] else (math.prod(s),) for n, s in shapes.items()}
        return {f"params.{name.replace('.', '/')}": shape for name, shape in shapes.items()}

    def table(self, prompts: Tensor, answers: Tensor) -> Tensor:
        """Log-probs (S,B,K,H,V) of every next token after each prefix of answers (S,B,K,H) to prompts (S,B,H)."""
        weights, first, cache = self._read_prompts(prompts)
        if torch.is_grad_enabled():  # a graph serves one backward pass
            self._read.forget()
        first = first.unsqueeze(2).expand(-1, -1, answers.shape[2], -1).unsqueeze(3)
        if answers.shape[3] == 1:
            return first
        rest, _ = self._complete(weights, build_trie(answers[..., :-1]), cache)
        return torch.cat([first, rest], dim=3)

    @torch.no_grad()
    def _write(self, prompts: Tensor, k: int, horizon: int, choose: Callable) -> tuple[Tensor, Tensor]:
        weights, first, cache = self._read_prompts(prompts)
        tables, answers = [first.unsqueeze(2).expand(-1, -1, k, -1)], []
        for t in range(horizon):
            answers.append(choose(tables[-1], t))
            if t + 1 < horizon:
                table, cache = self._complete(weights, build_trie(torch.stack(answers, dim=-1), start=t), cache)
                tables.append(table.squeeze(3))
        return torch.stack(answers, dim=-1), torch.stack(tables, dim=3)

    def p(self, name: str) -> Tensor:
        return self.params[name.replace(".", "/")]

    def forward(self, tokens: Tensor) -> Tensor:
        """Log-probs (S,N,T,V) of the next token after each prefix of tokens (S,N,T)."""
        weights, nodes = self._weights(), build_trie(tokens.unsqueeze(2))
        return self._table(weights, nodes, self._blocks(weights, nodes)[0]).squeeze(2)

    def _read_prompts(self, prompts: Tensor) -> tuple[Weights, Tensor, Cache]:
        """Weights, log-probs (S,P,V) of the first token after prompts (S,P,H), and keys and values of each layer.

        They have their graph, and are kept for the first epoch after a rollout, which reads the same prompts.
        """
        return self._read.get(self.params.values(), prompts, lambda: self._pass_prompts(prompts))

    def _pass_prompts(self, prompts: Tensor) -> tuple[Weights, Tensor, Cache]:
        weights, nodes = self._weights(), build_prompt_trie(prompts, self.p("embed").shape[1])
        hidden, cache = self._blocks(weights, nodes, only=nodes.places[..., 0, -1])
        return weights, self._head(hidden, weights), cache

    def _complete(self, weights: Weights, nodes: Trie, cache: Cache) -> tuple[Tensor, Cache]:
        """Log-probs (S,P,K,T,V) after each prefix that the nodes stand for, and the keys and values grown by them."""
        hidden, cache = self._blocks(weights, nodes, cache)
        return self._table(weights, nodes, hidden), cache

    def _table(self, weights: Weights, nodes: Trie, hidden: Tensor) -> Tensor:
        table, index = self._head(hidden, weights), nodes.places.flatten(1).unsqueeze(-1)
        return table.gather(1, index.expand(-1, -1, table.shape[-1])).view(*nodes.places.shape, -1)

    def _weights(self) -> Weights:
        """Matrices and biases as they multiply: queries, keys and values in one, norms folded into what follows them.

        (n * scale + bias) @ W + b = n @ (scale^T * W) + (bias @ W + b), which spares two passes over every activation.
        """

        def folded(norm: str, kernel: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
            scale, shift = self.p(f"{norm}.scale"), self.p(f"{norm}.bias")
            return scale.transpose(1, 2) * kernel, shift @ kernel + bias

        found = {"head": folded("norm", self.p("head.kernel"), self.p("head.bias"))}
        for i in range(self.cfg.layers):
            kernels, biases = (
                torch.cat([self.p(f"{i}.{part}.{kind}") for part in ("query", "key", "value")], dim=-1)
                for kind in ("kernel", "bias")
            )
            found[f"{i}.qkv"] = folded(f"{i}.norm1", kernels, biases)
            found[f"{i}.up"] = folded(f"{i}.norm2", self.p(f"{i}.up.kernel"), self.p(f"{i}.up.bias"))
            for part in ("out", "down"):
                found[f"{i}.{part}"] = self.p(f"{i}.{part}.kernel"), self.p(f"{i}.{part}.bias")
        return found

    def _blocks(self, weights: Weights, nodes: Trie, cache: Cache | None = None, only: Tensor | None = None):
        """Hidden states (S,U,d) of nodes, and the grown keys and values.

        The nodes are of answers, after the prompts in the cache, or without a cache of whole strings. Each node attends
        to all that is in the cache before the trie began, and to what it sees of the trie. With `only` (S,N), hidden
        states (S,N,d) of these rows.
        """
        positions = self.p("position").shape[1]
        start = 0 if cache is None else positions // 2  # a prompt and its answer have as many tokens
        table = (self.p("embed").unsqueeze(2) + self.p("position").unsqueeze(1)).flatten(1, 2)
        rows = nodes.tokens * positions + start + nodes.depths
        offsets = torch.arange(len(rows), device=rows.device).view(-1, 1) * table.shape[1]
        x = F.embedding(rows + offsets, table.flatten(0, 1))
        mask = self._mask(nodes.attends_to, start)
        tile_map = (ChainMap if nodes.is_chain else TileMap)(nodes, self.cfg.heads)
        grown = []
        for i in range(self.cfg.layers):
            q, *kv = tile_map.to_tiles(_dense(_normal(x), weights[f"{i}.qkv"])).unbind(0)
            k, v = kv if cache is None else (torch.cat(pair, dim=3) for pair in zip(cache[i], kv, strict=True))
            grown.append((k, v))
            y = tile_map.to_rows(attention(q, k, v, mask))
            if only is not None and i == self.cfg.layers - 1:
                x, y = take_rows(x, only), take_rows(y, only)
            x = _add(x, y, weights[f"{i}.out"])
            y = F.gelu(_dense(_normal(x), weights[f"{i}.up"]), approximate="tanh")
            x = _add(x, y, weights[f"{i}.down"])
        return x, grown

    def _mask(self, sees: Tensor, before: int) -> Tensor:
        """0 where a node attends, -inf elsewhere: (S*P*heads,M,before+L) for sees (S,P,M,L) and all `before` it."""
        sees = F.pad(sees, (before, 0), value=True).unsqueeze(2).expand(-1, -1, self.cfg.heads, -1, -1)
        return torch.zeros((), device=sees.device, dtype=self.p("embed").dtype).where(sees.flatten(0, 2), -torch.inf)

    def _head(self, x: Tensor, weights: Weights) -> Tensor:
        return _dense(_normal(x), weights["head"]).log_softmax(-1)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(hd) + mask) v for q (...,T,hd), k and v (...,L,hd), mask (N,T,L): N is the product of "...".

    Plain products: for strings this short they beat the fused kernel.
    """
    shape = q.shape
    q, k, v = (x.flatten(0, -3) for x in (q, k, v))
    scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=shape[-1] ** -0.5)
    # torch takes rows that are shorter than a vector of the processor number by number
    weights = softmax(scores) if scores.shape[-1] < VECTOR else scores.softmax(-1)
    return torch.bmm(weights, v).view(shape)


def _normal(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def _dense(x: Tensor, weight: tuple[Tensor, Tensor]) -> Tensor:
    """x (S,N,in) by a matrix (S,in,out) and a bias (S,1,out)."""
    return torch.baddbmm(weight[1], x, weight[0])


def _add(x: Tensor, y: Tensor, weight: tuple[Tensor, Tensor]) -> Tensor:
    """x (S,N,out) + `_dense` of y."""
    return torch.baddbmm(x, y, weight[0]) + weight[1]
