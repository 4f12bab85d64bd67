"""One process of a TRL training, started by torchrun: -m tests.trl_process FOLDER STAGE, the stage of ZeRO or 0."""

import sys
from pathlib import Path

import torch

from algorithms.tpo import TPO
from tests.test_trl import completions_of, trainer


def zero(stage: int) -> dict:
    """DeepSpeed's settings for a stage of ZeRO."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # it takes minutes to compile
    found = dict.fromkeys(
        ("gradient_clipping", "gradient_accumulation_steps", "train_micro_batch_size_per_gpu"), "auto"
    )
    gathers = {"stage3_gather_16bit_weights_on_model_save": True}  # so that the test sees whole weights
    return found | {"zero_optimization": {"stage": stage, **(gathers if stage == 3 else {})}}


def main(folder: Path, stage: int) -> None:
    settings = {"deepspeed": zero(stage)} if stage else {}
    found = trainer(folder, TPO(), per_device_train_batch_size=2, gradient_accumulation_steps=4, **settings)
    found.train()
    state = found.accelerator.get_state_dict(found.model_wrapped)
    torch.save((completions_of(found), state), folder / f"rank{found.accelerator.process_index}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
