"""The least memory that training a language model needs, said before it starts."""

from pathlib import Path

import torch

from models.base import ModelConfig

GB = 1e9
WORTH_SAYING = 1e9  # bytes
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")  # of a container, which may allow less than the machine has


class TooLittleMemoryError(MemoryError):
    """Less is free than training needs; the message says how much."""


def needed(model: ModelConfig, keeps_reference: bool, staleness: int = 0) -> dict[str, int]:
    """Bytes by what takes them, for a model whose number of weights is known; activations come on top.

    weights: n of the dtype's size. Without adapters also: gradients 4 n, AdamW's two moments 8 n (float64: twice that),
    a float32 copy 4 n of weights of lower precision, and the reference policy's own weights. A copy to draw from has
    `rollout_dtype`'s size. With `staleness`, a policy that lags behind and those of older rollouts are kept.
    """
    count = getattr(model, "parameter_count", lambda: None)()
    if count is None:
        return {}
    size = getattr(torch, model.dtype).itemsize
    found = {"weights": size * count}
    if model.rollout_dtype not in (None, model.dtype):
        found |= {"the copy to draw from": getattr(torch, model.rollout_dtype).itemsize * count}
    if not model.lora_rank:
        found |= {"gradients": max(size, 4) * count, "AdamW": 2 * max(size, 4) * count}
        found |= {"a float32 copy": 4 * count} if size < 4 else {}
        found |= {"the reference policy": size * count} if keeps_reference else {}
    if staleness:
        copies = 1 if model.lora_rank else staleness + 2
        found |= {"the policies of older rollouts": copies * size * count}
    return found


def require_memory(model: ModelConfig, keeps_reference: bool, device: torch.device, staleness: int = 0) -> str:
    """One line on what it needs, empty where that is little or not known; raises TooLittleMemoryError."""
    parts, free = needed(model, keeps_reference, staleness), available(device)
    total = sum(parts.values())
    listed = ", ".join(f"{what} {count / GB:.1f}" for what, count in parts.items())
    needs = f"{total / GB:.1f} GB and activations ({listed})"
    if free is not None and free < total:
        lower = "" if model.lora_rank else "; model.lora_rank=16 needs little more than the weights"
        raise TooLittleMemoryError(f"model.path={model.path}: needs {needs}, and {free / GB:.1f} GB are free{lower}")
    if total < WORTH_SAYING:
        return ""
    have = "" if free is None else f"; {free / GB:.1f} GB are free"
    return f"memory: {model.parameter_count() / 1e6:.1f} M weights need {needs}{have}"


def available(device: torch.device) -> int | None:
    """Free bytes of the device, or of this process's container if that is less; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = [_free_memory(), _free_of_container()]
    return min((free for free in found if free is not None), default=None)


def _free_memory() -> int | None:
    if not MEMINFO.exists():
        return None
    values = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
    return 1024 * int(values["MemAvailable"].split()[0])


def _free_of_container() -> int | None:
    limit, used, parts = (CGROUP / f"memory.{name}" for name in ("max", "current", "stat"))
    if not (limit.exists() and used.exists()) or limit.read_text().strip() == "max":
        return None
    counts = dict(line.split() for line in parts.read_text().splitlines()) if parts.exists() else {}
    # the kernel gives up its cache of files when a process needs the memory
    return int(limit.read_text()) - int(used.read_text()) + int(counts.get("inactive_file", 0))
