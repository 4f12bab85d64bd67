"""Train one configuration, or a grid of them: python run.py algo=tpo env=sparse_bandit"""

import logging
import os
import signal
import sys

import hydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from analysis.summary import conclude
from conf.messages import ConfigError, explain
from launch import help, requests, train_plan
from launch.command_line import prepare
from launch.job import outcomes, screen, train
from training.experiment import Outcome


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def job(cfg) -> Outcome:
    return train(cfg)


def main() -> int:
    console, argv = screen(), sys.argv[1:]
    logging.basicConfig(format="%(message)s")
    logging.getLogger("huggingface_hub").propagate = False  # it prints its lines itself
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions reach us, and become messages
    try:
        if help.is_asked(argv):
            print(help.text(argv))
            return 0
        sys.argv[1:] = prepare(argv)
        if requests.is_asked(argv):
            return train_plan.run(sys.argv[1:], console)
        job()
    except (HydraException, OmegaConfBaseException, ConfigError, ValueError) as error:
        console.print(explain(error, argv), style="red", soft_wrap=True, highlight=False)
        return 2
    except KeyboardInterrupt as error:
        forced = "force=true" in map(str.lower, argv)
        again = "starts again from the beginning, as force=true asks" if forced else "goes on from here"
        console.print(f"interrupted; the same command {again}")
        return 128 + (getattr(error, "signal", 0) or signal.SIGINT)
    return conclude(outcomes, console)
