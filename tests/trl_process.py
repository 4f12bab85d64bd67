"""One process of a TRL training, started by torchrun: -m tests.trl_process FOLDER."""

import sys
from pathlib import Path

import torch

from algorithms.tpo import TPO
from tests.test_trl import completions_of, trainer


def main(folder: Path) -> None:
    found = trainer(folder, TPO(), per_device_train_batch_size=2, gradient_accumulation_steps=4)
    found.train()
    policy = found.accelerator.unwrap_model(found.model)
    rank = found.accelerator.process_index
    torch.save((completions_of(found), policy.state_dict()), folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
