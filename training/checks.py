"""Checks of the values that the classes of a method and of a task return while they train."""

import heapq
import inspect
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from envs.rlvr.base import SPLITS, TextEnv
from envs.rlvr.splits import Generated
from store.failure import ContractError

ROUNDING = 1e-4
FEW = 64  # problems of a split whose text is checked


def check_loss(found: Any, objective: Any, seeds: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The value of `objective.loss`; raises ContractError unless it is a loss (S,) of the log-probs, and metrics."""
    is_pair = isinstance(found, tuple) and len(found) == 2
    loss, metrics = found if is_pair else (None, None)
    if not (isinstance(loss, Tensor) and loss.shape == (seeds,) and isinstance(metrics, dict)):
        returned = f"({_described(loss)}, {_described(metrics)})" if is_pair else _described(found)
        must = f"must be (loss, metrics): a tensor ({seeds},) with one loss for each seed, and a dict"
        raise ContractError(f"{_called(objective, 'loss')} returned {returned}; {must}")
    if not loss.requires_grad:
        must = "it must depend on logp, which must not be detached"
        raise ContractError(f"{_called(objective, 'loss')} returned a loss without a gradient; {must}")
    return loss, check_metrics(metrics, objective, "loss", seeds)


def check_logp(logp: Tensor, policy: Any) -> Tensor:
    """Log-probs of a policy; raises ContractError if they do not depend on its parameters."""
    if not logp.requires_grad:
        file, must = inspect.getsourcefile(type(policy)), "they must depend on the parameters, and not be detached"
        raise ContractError(f"{file}: the log-probs of {type(policy).__name__} have no gradient; {must}")
    return logp


def check_metrics(metrics: Any, owner: Any, method: str, seeds: int) -> dict[str, Tensor]:
    """The metrics that a method of `owner` returned; raises ContractError unless they are a dict of tensors (S,)."""
    if not isinstance(metrics, dict):
        raise ContractError(f"{_called(owner, method)} returned {_described(metrics)}; must be a dict {{name: (S,)}}")
    for name, value in metrics.items():
        if not isinstance(name, str):
            raise ContractError(f"{_called(owner, method)}: metric {name!r}: its name must be text")
        if not isinstance(value, Tensor) or value.is_complex() or value.shape != (seeds,):
            must = f"must be a tensor ({seeds},) of real numbers, one for each seed"
            raise ContractError(f"{_called(owner, method)}: metric {name} is {_described(value)}; {must}")
    return metrics


def check_has_error(names: set[str], env: Any) -> None:
    """Raise ContractError unless a task has the metric error, from which curves and tables are made."""
    if "error" not in names:
        raise ContractError(f"{_called(env, 'evaluate')} returned no metric called error; the task must have one")


def check_error(error: Tensor, env: Any) -> None:
    """Raise ContractError for an error outside [0, 1]: a seed that diverged counts as 1, which must be the worst."""
    outside = error[(error < -ROUNDING) | (error > 1 + ROUNDING)]
    if len(outside):
        file = inspect.getsourcefile(type(env))
        fault = f"the metric error of {type(env).__name__} is {outside[0].item():.4g}; must be between 0 and 1"
        raise ContractError(f"{file}: {fault}")


def checked_contexts(env: Any, noise: Any) -> Tensor | None:
    """`env.contexts`; raises ContractError unless those of the first step are what they must be.

    That is None, whole numbers (S,B) below `spec.contexts`, or tokens (S,B,H) below `spec.actions`.
    """
    found = env.contexts(noise)
    if noise.step != 1 or found is None:
        return found
    of_tokens, s = env.spec.context_type == "tokens", len(noise.seeds)
    dims, below = (3, env.spec.actions) if of_tokens else (2, env.spec.contexts)
    is_right = isinstance(found, Tensor) and found.dtype == torch.int64 and found.dim() == dims and len(found) == s
    if not (is_right and found.min() >= 0 and found.max() < below):
        of_type = f" of {found.dtype}" if isinstance(found, Tensor) else ""
        must = f"must be a tensor {f'({s},B,H)' if of_tokens else f'({s},B)'} of int64, from 0 to {below - 1}"
        raise ContractError(f"{_called(env, 'contexts')} returned {_described(found)}{of_type}; {must}")
    return found


def checked_score(env: Any, contexts: Tensor | None, candidates: Tensor, noise: Any) -> Tensor:
    """`env.score`, (S,B,K,T); raises ContractError unless it is a reward for each token of the candidates."""
    one_each = candidates.shape if candidates.dim() == 4 else (*candidates.shape, 1)
    return _check_rewards(env.score(contexts, candidates, noise), env, "score", one_each)


def checked_token_scores(env: Any, prompts: Tensor, tokens: Tensor) -> Tensor:
    """`env.score_tokens`, (S,B,H,K); raises ContractError unless it is a reward for each of the tokens."""
    return _check_rewards(env.score_tokens(prompts, tokens), env, "score_tokens", tokens.shape)


def _check_rewards(found: Any, env: Any, method: str, shape: Sequence[int]) -> Tensor:
    if isinstance(found, Tensor) and found.shape == shape and found.is_floating_point():
        return found
    of_type = f" of {found.dtype}" if isinstance(found, Tensor) else ""
    must = f"must be rewards, a tensor {tuple(shape)} of a floating-point type"
    raise ContractError(f"{_called(env, method)} returned {_described(found)}{of_type}; {must}")


def check_alphabet(env: TextEnv, tokenizer: Any) -> None:
    """Raise ContractError for a prompt or a right answer with a character that the task's own tokenizer lacks.

    The first FEW problems of each split are read.
    """
    if len(tokenizer) != len(env.tokenizer()):  # a pretrained model's
        return

    def is_unknown(text: str) -> bool:
        return tokenizer.unk_token_id in tokenizer(text, add_special_tokens=False)["input_ids"]

    problems = (problem for split in SPLITS for problem in itertools.islice(env.problems(split), FEW))
    texts = (text for problem in problems for text in (problem.prompt, problem.answer))
    for text in filter(is_unknown, texts):
        lacking = next(filter(is_unknown, text), text)
        raise ContractError(f"{_called(env, 'tokenizer')} has no token for {lacking!r}, which is in {text!r:.60}")


def check_training_prompts(env: TextEnv, policy: Any) -> None:
    """Raise what `check_room` raises for a training prompt, before a run draws it.

    The FEW with the most characters are read, of problems that are made when they are asked for the first FEW.
    """
    if policy.window is None:
        return
    problems = env.problems("train")
    first = isinstance(problems, Generated)
    read = itertools.islice(problems, FEW) if first else heapq.nlargest(FEW, problems, key=lambda p: len(p.prompt))
    for problem in read:
        check_room(env, problem.prompt, len(env.encode(problem, policy.tokenizer)), policy.window)


def check_room(env: TextEnv, prompt: str, tokens: int, window: int | None) -> None:
    """Raise ValueError for a prompt of so many tokens that its completion has no room in the window of the model."""
    if window is None or tokens + env.max_new_tokens <= window:
        return
    if tokens >= window:
        fault = f"a prompt of {tokens} tokens ({prompt!r:.30}) does not fit into the model's window of {window}"
        raise ValueError(f"{fault}; shorten it, or leave it out")
    raise ValueError(
        f"env.max_new_tokens={env.max_new_tokens}: with a prompt of {tokens} tokens ({prompt!r:.30}) that is more than "
        f"the model's window of {window}; lower it, or use a model with a longer window"
    )


def check_names(of_objective: set[str], of_task: set[str], objective: Any) -> None:
    """Raise ContractError for a metric of `objective.loss` that has the name of one of the task."""
    for name in sorted(of_objective & of_task):
        fault = f"metric {name} has the name of a metric of the task"
        raise ContractError(f"{_called(objective, 'loss')}: {fault}; give it another name")


def _called(owner: Any, method: str) -> str:
    return f"{inspect.getsourcefile(type(owner))}: {type(owner).__name__}.{method}"


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    return "None" if value is None else f"{type(value).__name__} {value!r:.40}"
