"""Train one configuration, or a grid of them: python run.py algo=tpo env=sparse_bandit"""

import logging
import os
import sys

import hydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from analysis.summary import conclude
from conf.messages import explain
from conf.resolve import ConfigError, MisfitError, resolve
from training.experiment import Outcome, execute

console = Console(width=None if sys.stdout.isatty() else 120)
outcomes: list[Outcome] = []


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def job(cfg) -> None:
    label = f"{cfg.algo.get('label')} on {cfg.env.get('name')}"
    try:
        outcomes.append(execute(resolve(cfg), console))
    except ConfigError as error:
        status = "unfit" if isinstance(error, MisfitError) else "refused"
        outcomes.append(Outcome(label, status, message=str(error)))


def main() -> int:
    logging.basicConfig(format="%(message)s")
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions reach us, and become messages
    try:
        job()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        console.print(explain(error, sys.argv[1:]), style="red", soft_wrap=True, markup=False, highlight=False)
        return 2
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on from here")
        return 130
    return conclude(outcomes, console)


if __name__ == "__main__":
    sys.exit(main())
