"""python -m models.new NAME [--reads numbers|tokens]: a new policy from a template that trains at once."""

import sys

from conf.scaffold import Scaffold

TRAINED_BY = {
    "numbers": " env=contextual_bandit",
    "tokens": " env=dense_reversal env.horizon=4 optim=adam optim.lr=1e-2 seeds=2 train.steps=100",
}
NEW = Scaffold("model", "models", TRAINED_BY, "--reads")

if __name__ == "__main__":
    sys.exit(NEW.main())
