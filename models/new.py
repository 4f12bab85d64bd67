"""python -m models.new NAME [--kind indices|tokens]: a new model from a template that trains at once."""

import sys

from conf.entry import run_main
from conf.scaffold import Scaffold

TRAINED_BY = {
    "indices": " env=contextual_bandit",
    "tokens": " env=dense_reversal env.horizon=4 optim=adam optim.lr=1e-2 seeds=2 train.steps=100",
}
SCAFFOLD = Scaffold("model", "models", TRAINED_BY)

if __name__ == "__main__":
    sys.exit(run_main(SCAFFOLD.main))
