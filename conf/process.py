"""How threads wait and memory is kept: set before torch is imported, for this process and those that it starts."""

import ctypes
import os

SPINS = 3000
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
MOST_KEPT, LARGEST_KEPT = 2**31 - 1, 32 * 2**20  # bytes: at the end of the heap, and of one tensor; glibc takes no more


def tune_process() -> None:
    """Let waiting threads sleep sooner than OpenMP does, and keep freed memory, unless the user has set either.

    GOMP_SPINCOUNT  how often a thread of OpenMP looks for its partner before it sleeps. Where other processes need the
                    cores, long waits make a step several times longer (python -m benchmarks.busy)
    MALLOC_*        a step frees what the next one needs again, and glibc would give it back to the system in between
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    os.environ |= {"MALLOC_TRIM_THRESHOLD_": str(MOST_KEPT), "MALLOC_MMAP_THRESHOLD_": str(LARGEST_KEPT)}
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(TRIM_THRESHOLD, MOST_KEPT)
