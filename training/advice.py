"""One line before training on each setting that makes a language model slow on this machine."""

import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from models import pretrained

PROCESSOR_TIMES = Path("/proc/stat")
IDLE = (3, 4)  # columns of the first line: idle, and waiting for a disk
SAMPLE_SECONDS = 0.5


def advise_on_rollout_dtype(model, device: torch.device) -> str:
    """A line where `model` draws in a precision that this processor does not compute in; else empty."""
    wanted = getattr(model, "rollout_dtype", None)
    if device.type != "cpu" or wanted is None or computes_in_bfloat16():
        return ""
    return f"model.rollout_dtype={wanted}: this processor does not compute in bfloat16 itself; null is faster here"


def computes_in_bfloat16() -> bool:
    """Whether the processor multiplies matrices of bfloat16 (AVX512_BF16, AMX, or ARM's BF16)."""
    return any(there is True and name.endswith("bf16") for name, there in torch.cpu.get_capabilities().items())


def advise_on_changed_model(model, batches: list[dict[str, Any]]) -> str:
    """A line where the folder of a model may have changed after a seed was trained from it; else empty.

    It has if a file is newer than the seed, unless the folder's digest says that the files are the same.

    batches  of the run's manifest, each with the time when its seeds were finished, and the digest of its model
    """
    folder = Path(pretrained.folder(str(getattr(model, "path", None))))
    last = {seed: batch for batch in batches if "finished" in batch for seed in batch["seeds"]}
    ended = [datetime.fromisoformat(batch["finished"]).timestamp() for batch in last.values()]
    files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    if not ended or not files or max(path.stat().st_mtime for path in files) <= min(ended):
        return ""
    if {batch.get("model") for batch in last.values()} == {pretrained.digest(model.path)}:
        return ""
    return f"model.path={model.path}: has changed since seeds were trained from it; force=true trains them again"


def advise_on_threads(device: torch.device) -> str:
    """A line where this process has more threads than other processes leave cores free; else empty.

    Threads wait for each other after every matrix product, so one that waits for a core holds up all.
    """
    threads, used = torch.get_num_threads(), cores_used_by_others() if device.type == "cpu" else None
    if used is None:
        return ""
    cores = os.cpu_count() or 1
    free = max(1, round(cores - used))
    if threads <= free:
        return ""
    return f"the machine is busy (other processes use {used:.1f} of {cores} cores): OMP_NUM_THREADS={free} is faster"


def cores_used_by_others() -> float | None:
    """Cores that other processes use while this one waits for half a second; None where the system does not say."""
    before = _processor_times()
    if before is None:
        return None
    own = time.process_time()
    start = time.monotonic()
    time.sleep(SAMPLE_SECONDS)
    own, seconds = time.process_time() - own, time.monotonic() - start
    spent = [b - a for a, b in zip(before, _processor_times(), strict=True)]
    busy = 1 - sum(spent[column] for column in IDLE) / max(1, sum(spent))
    return max(0.0, busy * (os.cpu_count() or 1) - own / seconds)


def _processor_times() -> list[int] | None:
    """Ticks that all cores together spent, by what on."""
    if not PROCESSOR_TIMES.exists():
        return None
    return [int(ticks) for ticks in PROCESSOR_TIMES.read_text().splitlines()[0].split()[1:9]]
