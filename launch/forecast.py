"""How long a job will take, from a step of it."""

import time

from conf.resolve import Experiment
from training.experiment import blocks, build


def predict(experiment: Experiment, seeds: tuple[int, ...]) -> float:
    """Training seconds of these seeds at the speed of a second step.

    Later steps have less to compute as answers become alike, or more where the first ones find no reward.
    """
    block = blocks(experiment, seeds)[0]
    trainer = build(experiment, block)
    trainer.train_step()
    start = time.perf_counter()
    trainer.train_step()
    return (time.perf_counter() - start) * experiment.train.steps * len(seeds) / len(block)
