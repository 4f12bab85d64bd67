"""python -m benchmarks.operators: what the time of a step goes to, and how many operators it calls.

Shares of one thread's time by kind of operator, from torch.profiler, for the cases of `benchmarks.sequences` and for
methods of figures 3 and 4. Each call of an operator that computes starts at least one kernel on a GPU.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial

import torch
from rich.console import Console
from torch.profiler import profile
from torch.utils._python_dispatch import TorchDispatchMode

from algorithms.grpo import GRPO
from algorithms.tpo import TPO
from benchmarks import bandits, mnist, sequences
from benchmarks.tables import names_with, new_table
from conf.entry import run_main
from training.loop import Trainer

KINDS = {
    "products": ("mm", "bmm", "addmm", "baddbmm"),
    "GELU": ("gelu", "gelu_backward"),
    "layer norm": ("native_layer_norm", "native_layer_norm_backward"),
    "softmax": ("_softmax", "_softmax_backward_data", "_log_softmax", "_log_softmax_backward_data"),
    "Adam": ("_fused_adam_", "Optimizer.step#Adam.step"),
    "moves": ("copy_", "cat", "stack", "index_select", "gather", "scatter_add_", "embedding_dense_backward"),
}
WITHOUT_KERNEL = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "_unsafe_view")
PROFILED = 5  # steps
NEVER = 10**9

CASES: dict[str, Callable[[], Trainer]] = {
    **{case.name: partial(sequences.make_trainer, case, NEVER) for case in sequences.PAPER},
    "TPO, MNIST": partial(mnist.make_trainer, TPO(), 10, NEVER),
    "TPO, figure 3": partial(bandits.make_trainer, bandits.FIGURE_3, TPO(), 100, NEVER),
    "GRPO, figure 3": partial(bandits.make_trainer, bandits.FIGURE_3, GRPO(), 100, NEVER),
}


class OperatorCount(TorchDispatchMode):
    """Counts calls of operators that compute."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.calls += not (operator.is_view or operator.overloadpacket.__name__ in WITHOUT_KERNEL)
        return operator(*args, **(kwargs or {}))


def measure(trainer: Trainer) -> tuple[dict[str, float], int]:
    """Shares of the time of some steps by kind of operator, and operator calls in one step of all seeds."""
    trainer.train_step()  # warms up
    with OperatorCount() as count:
        trainer.train_step()
    with profile() as profiled:
        for _ in range(PROFILED):
            trainer.train_step()
    spent = Counter({event.key.removeprefix("aten::"): event.self_cpu_time_total for event in profiled.key_averages()})
    shares = {kind: sum(spent[name] for name in names) / spent.total() for kind, names in KINDS.items()}
    return shares | {"other": 1 - sum(shares.values())}, count.calls


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.operators", description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="", help="only the rows whose name contains this")
    args = parser.parse_args()
    wanted = names_with(args.case, CASES, parser)
    torch.set_num_threads(1)
    heads = ("case", "seeds", *KINDS, "other", "calls")
    table = new_table(heads, box=None, title=f"torch {torch.__version__}, one thread")
    for name in wanted:
        trainer = CASES[name]()
        shares, calls = measure(trainer)
        table.add_row(name, f"{len(trainer.noise.seeds)}", *(f"{s:.0%}" for s in shares.values()), f"{calls:,}")
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(run_main(main))
