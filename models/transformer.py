"""A small causal transformer over token strings, one set of parameters per seed, all seeds in one batched program."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from algorithms.base import require
from models.base import Policy, draw
from models.distinct import can_code, distinct, groups_of, take

Weights = dict[str, tuple[Tensor, Tensor]]  # {dense layer: (matrix (S,in,out), bias (S,1,out))}
Cache = list[tuple[Tensor, Tensor]]  # keys and values (S,N,T,heads,head_dim) of each layer


@dataclass(frozen=True)
class TransformerConfig:
    """Decoder-only, pre-norm, learned positions, tanh-GELU, biases everywhere; defaults as in the released code.

    Raises ValueError for a size below 1 or a d_model that the heads do not divide.
    """

    name = "transformer"

    d_model: int = 64
    heads: int = 2
    layers: int = 2
    mlp_ratio: int = 4

    def __post_init__(self):
        for key in ("d_model", "heads", "layers", "mlp_ratio"):
            require(getattr(self, key) >= 1, key, getattr(self, key), ">= 1")
        require(self.d_model % self.heads == 0, "d_model", self.d_model, f"divisible by heads={self.heads}")

    def build(self, spec, noise) -> "Transformer":
        return Transformer(self, initial(self, spec.actions, 2 * spec.horizon, noise))


def shapes(cfg: TransformerConfig, vocab: int, positions: int) -> dict[str, tuple[int, ...]]:
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


def initial(cfg: TransformerConfig, vocab: int, positions: int, noise) -> dict[str, Tensor]:
    """Flax's defaults: kernels LeCun normal truncated at two std, embedding variance 1/d_model, positions std 0.02."""
    wanted = shapes(cfg, vocab, positions)
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
        edge = math.erf(2 / math.sqrt(2))  # probability mass within two std
        normal = torch.erfinv((2 * uniform.double() - 1) * edge) * math.sqrt(2)
        return (normal / 0.87962566103423978 / math.sqrt(fan_in)).float().view(full)
    std = 0.02 if name == "position" else shape[-1] ** -0.5
    return (torch.special.ndtri(uniform.double().clamp(1e-9, 1 - 1e-9)) * std).float().view(full)


class Transformer(Policy):
    """Log-probs of answers (S,B,K,H) to prompts (S,B,H); the K answers share the keys and values of their prompt."""

    def __init__(self, cfg: TransformerConfig, params: dict[str, Tensor]):
        super().__init__()
        self.cfg = cfg
        self.flax_shapes = {name: tuple(value.shape[1:]) for name, value in params.items()}
        matrices = {name: self._matrix(name, value) for name, value in params.items()}
        self.params = nn.ParameterDict({name.replace(".", "/"): nn.Parameter(v) for name, v in matrices.items()})

    def _matrix(self, name: str, value: Tensor) -> Tensor:
        """A kernel as the matrix (S, in, out) that multiplies, a bias as a row (S, 1, out)."""
        if name.endswith("out.kernel"):
            return value.flatten(1, 2).contiguous()
        if name.endswith("kernel"):
            return value.flatten(2).contiguous()
        if name in ("embed", "position"):
            return value.contiguous()
        return value.flatten(1).unsqueeze(1).contiguous()

    def layouts(self, split: str) -> dict[str, tuple[int, ...]]:
        shapes = self.flax_shapes
        if split == "torch":
            matrix = {n: n.endswith("kernel") or n in ("embed", "position") for n in shapes}
            shapes = {n: tuple(self.p(n).shape[1:]) if matrix[n] else (math.prod(s),) for n, s in shapes.items()}
        return {f"params.{name.replace('.', '/')}": shape for name, shape in shapes.items()}

    def logp(self, contexts, candidates) -> Tensor:
        return self.table(contexts, candidates).gather(-1, candidates.unsqueeze(-1)).squeeze(-1)

    def table(self, prompts: Tensor, answers: Tensor) -> Tensor:
        """Log-probs (S,B,K,H,V) of every next token after each prefix of answers (S,B,K,H) to prompts (S,B,H)."""
        s, b, k, horizon = answers.shape
        weights = self._weights()
        first, cache = self._prompt(weights, prompts)
        first = first.unsqueeze(2).expand(-1, -1, k, -1).unsqueeze(3)
        if horizon == 1:
            return first
        strings, group = answers[..., :-1].flatten(1, 2), groups_of(answers)
        rows, places = self._distinct(group, strings)
        cache = [tuple(take(x, take(group, rows)) for x in kv) for kv in cache]
        rest, _ = self._complete(weights, take(strings, rows), horizon, cache)
        return torch.cat([first, take(rest, places).view(s, b, k, horizon - 1, -1)], dim=3)

    @torch.no_grad()
    def generate(self, prompts: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Answers (S,B,K,H) drawn with uniforms (S,B,K,H), and their `table`."""
        s, b, k, horizon = uniforms.shape
        weights = self._weights()
        first, cache = self._prompt(weights, prompts)
        tables, answers = [first.unsqueeze(2).expand(-1, -1, k, -1)], []
        places = group = groups_of(uniforms)
        for t in range(horizon):
            answers.append(draw(tables[-1], uniforms[..., t]))
            if t + 1 < horizon:
                parents = places
                rows, places = self._distinct(group, torch.stack(answers, dim=-1).flatten(1, 2))
                cache = [tuple(take(x, take(parents, rows)) for x in kv) for kv in cache]
                tokens = take(answers[-1].flatten(1), rows).unsqueeze(-1)
                table, cache = self._complete(weights, tokens, horizon + t, cache)
                tables.append(take(table.squeeze(2), places).view(s, b, k, -1))
        return torch.stack(answers, dim=-1), torch.stack(tables, dim=3)

    def _distinct(self, group: Tensor, strings: Tensor) -> tuple[Tensor, Tensor]:
        """`distinct` over strings (S,N,T) within their groups (S,N)."""
        vocab, length = self.p("embed").shape[1], strings.shape[-1]
        if not can_code(int(group[0, -1]) + 1, vocab, length):
            every = torch.arange(group.shape[1], device=group.device).expand_as(group)
            return every, every
        digits = vocab ** torch.arange(length, device=strings.device)
        return distinct(group * vocab**length + (strings * digits).sum(-1))

    def p(self, name: str) -> Tensor:
        return self.params[name.replace(".", "/")]

    def forward(self, tokens: Tensor) -> Tensor:
        """Log-probs (S,N,T,V) of the next token after each prefix of tokens (S,N,T)."""
        weights = self._weights()
        return self._head(self._blocks(weights, tokens, 0, None)[0], weights)

    def _prompt(self, weights: Weights, prompts: Tensor) -> tuple[Tensor, Cache]:
        """Log-probs (S,P,V) of the first token after prompts (S,P,H), and the keys and values of each layer."""
        hidden, cache = self._blocks(weights, prompts, 0, None, last_only=True)
        return self._head(hidden, weights).squeeze(2), cache

    def _complete(self, weights: Weights, tokens: Tensor, start: int, cache: Cache) -> tuple[Tensor, Cache]:
        """Log-probs (S,N,T,V) after each of tokens (S,N,T) at positions from `start`, and the grown keys and values."""
        hidden, cache = self._blocks(weights, tokens, start, cache)
        return self._head(hidden, weights), cache

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

    def _blocks(self, weights: Weights, tokens: Tensor, start: int, cache: Cache | None, last_only: bool = False):
        """Hidden states (S,N,T,d), of the last token alone with `last_only`, and keys and values (S,N,start+T,h,hd)."""
        s, n, t = tokens.shape
        offsets = torch.arange(s, device=tokens.device).view(-1, 1) * self.p("embed").shape[1]
        x = F.embedding(tokens.flatten(1) + offsets, self.p("embed").flatten(0, 1)).view(s, n, t, -1)
        x = x + self.p("position")[:, None, start : start + t]
        grown = []
        for i in range(self.cfg.layers):
            short = last_only and i == self.cfg.layers - 1
            y, kv = self._attend(i, weights, x, cache[i] if cache else None, short)
            x = x[:, :, -1:] if short else x
            grown.append(kv)
            x = _add(x, y, weights[f"{i}.out"])
            y = F.gelu(_dense(_normal(x), weights[f"{i}.up"]), approximate="tanh")
            x = _add(x, y, weights[f"{i}.down"])
        return x, grown

    def _attend(self, i: int, weights: Weights, x: Tensor, past, last_only: bool):
        s, n, t, _ = x.shape
        q, k, v = _dense(_normal(x), weights[f"{i}.qkv"]).view(s, n, t, 3, self.cfg.heads, -1).unbind(3)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        q = q[:, :, -1:] if last_only else q
        future = torch.full((q.shape[2], k.shape[2]), -torch.inf, device=x.device, dtype=x.dtype)
        future = future.triu(1 + k.shape[2] - q.shape[2])
        # heads first and contiguous: for strings this short, plain products beat the fused kernel
        heads = (z.transpose(2, 3).reshape(-1, z.shape[2], z.shape[4]) for z in (q, k, v))
        mixed = attention(*heads, future).view(s, n, self.cfg.heads, q.shape[2], -1)
        return mixed.transpose(2, 3).reshape(s, n, q.shape[2], -1), (k, v)

    def _head(self, x: Tensor, weights: Weights) -> Tensor:
        return _dense(_normal(x), weights["head"]).log_softmax(-1)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d) + mask) v for q (N,T,d), k and v (N,T',d), mask (T,T')."""
    scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=q.shape[-1] ** -0.5)
    return torch.bmm(scores.softmax(-1), v)


def _normal(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def _dense(x: Tensor, weight: tuple[Tensor, Tensor]) -> Tensor:
    """x (S,N,T,in) by a matrix (S,in,out) and a bias (S,1,out)."""
    return torch.baddbmm(weight[1], x.flatten(1, 2), weight[0]).view(*x.shape[:3], -1)


def _add(x: Tensor, y: Tensor, weight: tuple[Tensor, Tensor]) -> Tensor:
    """x (S,N,T,out) + `_dense` of y."""
    return (torch.baddbmm(x.flatten(1, 2), y.flatten(1, 2), weight[0]) + weight[1]).view(x.shape)
