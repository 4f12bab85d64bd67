"""Several processes train one language model, with the results of one process.

Every process draws the same prompts and random numbers. Each process completes and grades its shard of the problems,
and passes its shard of the completions through the model. Log-probs and grades are gathered, so that every process
computes the whole loss, which may couple all candidates. Gradients are summed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

TIMEOUT = timedelta(hours=12)  # for one process to wait for another, such as the one that makes a warm start
_single_process = False


def started_processes() -> int:
    """How many processes torchrun or accelerate launch started; they need not have joined a group yet."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def initialize(device: torch.device) -> None:
    """Join the process group, if there is more than one process."""
    if started_processes() > 1 and not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() and not _single_process else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() and not _single_process else 0


@contextmanager
def single_process() -> Iterator[None]:
    """Within this block the process works alone: world_size() is 1 and nothing is communicated."""
    global _single_process
    before, _single_process = _single_process, True
    try:
        yield
    finally:
        _single_process = before


def local_slice(n: int) -> slice:
    """The shard of n items that belongs to this process."""
    return slice(n * rank() // world_size(), n * (rank() + 1) // world_size())


def broadcast(value: Any) -> Any:
    """The `value` of the process of rank 0, in every process."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def all_gather(shard: Any) -> Any:
    """The shards of all processes, lists or tensors (n,...), concatenated in the order of their ranks."""
    if world_size() == 1:
        return shard
    shards = [None] * world_size()
    dist.all_gather_object(shards, shard.cpu() if isinstance(shard, Tensor) else shard)
    if isinstance(shard, Tensor):
        return torch.cat(shards).to(shard.device)
    return [item for found in shards for item in found]


def all_reduce_gradients(params: list[Tensor]) -> None:
    """Replace each gradient by its sum over the processes; a gradient that a process lacks counts as 0."""
    if world_size() == 1:
        return
    for p in params:
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        dist.all_reduce(p.grad)


class ShardedPolicy:
    """A policy whose log-probs, without gradient, are computed in shards: each process passes its shard of the rows."""

    def __init__(self, policy):
        self.policy = policy

    def __getattr__(self, name: str):
        return getattr(self.policy, name)

    @torch.no_grad()
    def logp(self, contexts: Tensor, candidates: Tensor) -> Tensor:
        if contexts.shape[1] < world_size():
            return self.policy.logp(contexts, candidates)
        shard = local_slice(contexts.shape[1])
        found = self.policy.logp(contexts[:, shard], candidates[:, shard])
        return all_gather(found.transpose(0, 1)).transpose(0, 1)
