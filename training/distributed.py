"""Several processes train one language model: who does what, and what they tell each other.

Every process draws the same prompts and numbers. Each completes and grades its share of the problems, and passes its
share of the completions through the model; log-probs and grades are gathered, so that each has the whole loss, which
may couple whatever it likes; gradients are summed. So the results are those of one process, whatever the objective.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(hours=12)  # a process waits so long for another, as for its warm start
_single_process = False


def initialize(device: torch.device) -> None:
    """Meet the processes that torchrun or accelerate launch started, if they did."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() and not _single_process else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() and not _single_process else 0


@contextmanager
def single_process() -> Iterator[None]:
    """What one process does without the others."""
    global _single_process
    before, _single_process = _single_process, True
    try:
        yield
    finally:
        _single_process = before


def local_slice(n: int) -> slice:
    """This process's part of n things."""
    return slice(n * rank() // world_size(), n * (rank() + 1) // world_size())


def broadcast(value: Any) -> Any:
    """What the first process has for `value`."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def all_gather(part: Any) -> Any:
    """The parts of all processes, lists or tensors (n,...), one after the other."""
    if world_size() == 1:
        return part
    parts = [None] * world_size()
    dist.all_gather_object(parts, part.cpu() if isinstance(part, Tensor) else part)
    if isinstance(part, Tensor):
        return torch.cat(parts).to(part.device)
    return [item for found in parts for item in found]


def all_reduce_gradients(params: list[Tensor]) -> None:
    """Replace each gradient by its sum over the processes; one that a process lacks is 0."""
    if world_size() == 1:
        return
    for p in params:
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        dist.all_reduce(p.grad)


class ShardedPolicy:
    """A policy of which each process asks its share of the rows, and learns what the others were told."""

    def __init__(self, policy):
        self.policy = policy

    def __getattr__(self, name: str):
        return getattr(self.policy, name)

    @torch.no_grad()
    def logp(self, contexts: Tensor, candidates: Tensor) -> Tensor:
        if contexts.shape[1] < world_size():
            return self.policy.logp(contexts, candidates)
        mine = local_slice(contexts.shape[1])
        found = self.policy.logp(contexts[:, mine], candidates[:, mine])
        return all_gather(found.transpose(0, 1)).transpose(0, 1)
