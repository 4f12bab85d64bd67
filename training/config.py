"""The settings of training, `train.KEY` on the command line."""

from dataclasses import dataclass

from algorithms.base import require

PHASES = ("rl", "sft")
SPLITS = ("validation", "test")
MOST_STEPS = 10**9  # a typing mistake lies beyond


@dataclass(frozen=True)
class TrainConfig:
    """Length of a run, and what it records.

    steps             number of rollouts; each is followed by its gradient epochs
    epochs            gradient steps per rollout; null: the environment's number, or else the objective's own
    staleness         number of rollouts by which the policy that draws lags behind the policy that learns. The metrics
                      of rollouts lag too, and the error of most sequence tasks is one
    log_every         steps between two recorded steps; the first and the last step are always recorded
    checkpoint_every  steps between two checkpoints
    seed_block        seeds that train together; null: for strings on a CPU about as many as fit into a
                      cache, else all
    micro_batch       prompts of each seed, or completions of a language model, that pass through the policy at once;
                      null: the whole batch. It changes memory, and results only by rounding. Where the
                      gradient is 0, Muon scales rounding errors up to full steps (docs/paper.md)
    diagnostics       also record the metrics of `training.observers.diagnostics` and `training.observers.surplus`
    kl_beta           weight of a penalty for the distance to the first policy, added to the objective's loss
    eval_every        steps between two evaluations of a language model, each on eval_problems problems of eval_split.
                      There is always one before the first step and one after the last; null: only these two
    eval_samples      sampled answers to each of these problems; with n, pass@k is known for k up to n
    phase             "rl", or "sft" for only the warm start of a model that has one

    Raises ValueError for a count below 1, more than MOST_STEPS steps, a negative value, or an unknown word.
    """

    steps: int = 100
    epochs: int | None = None
    staleness: int = 0
    log_every: int = 1
    checkpoint_every: int = 500
    seed_block: int | None = None
    micro_batch: int | None = None
    diagnostics: bool = False
    kl_beta: float = 0.0
    eval_every: int | None = None
    eval_problems: int = 256
    eval_samples: int = 1
    eval_split: str = "test"
    phase: str = "rl"

    def __post_init__(self):
        require(1 <= self.steps <= MOST_STEPS, "steps", self.steps, f"between 1 and {MOST_STEPS}")
        for key in ("log_every", "checkpoint_every", "eval_problems", "eval_samples"):
            require(getattr(self, key) >= 1, key, getattr(self, key), ">= 1")
        require(self.kl_beta >= 0, "kl_beta", self.kl_beta, ">= 0")
        require(self.eval_split in SPLITS, "eval_split", self.eval_split, f"one of {', '.join(SPLITS)}")
        require(self.phase in PHASES, "phase", self.phase, f"one of {', '.join(PHASES)}")
        for key in ("epochs", "seed_block", "micro_batch", "eval_every"):
            require(getattr(self, key) is None or getattr(self, key) >= 1, key, getattr(self, key), "null or >= 1")
        require(self.staleness >= 0, "staleness", self.staleness, ">= 0")

    def evaluates_at(self, step: int) -> bool:
        """Whether a language model is evaluated after this step."""
        return step == self.steps or (self.eval_every is not None and step % self.eval_every == 0)
