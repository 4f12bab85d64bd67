"""The training loop: contexts -> candidates -> scores -> epochs x (loss, step) -> metrics, all seeds at once."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from algorithms.base import Objective, require
from envs.base import Env
from models.base import MicroBatches, Policy
from training import diagnostics, surplus
from training.lag import Lagging
from training.noise import Noise
from training.optim import Optimizer
from training.sampling import SAMPLERS, Rollout

REFERENCES = ("initial", "none")


@dataclass(frozen=True)
class TrainConfig:
    """Length and records of a run.

    steps             rollouts, each followed by its gradient epochs
    epochs            gradient steps per rollout; null: the environment's, or else the objective's own
    reference         what an objective that needs a reference policy is held to: the policy before the first step
                      ("initial"), or "none", which is refused where one is needed
    staleness         rollouts by which the policy that draws lags behind the one that learns; so do the metrics of
                      what it drew, which on sequence tasks are all there are
    log_every         steps between two recorded metrics (the first and the last step are always recorded)
    checkpoint_every  steps between two checkpoints
    seed_block        seeds that train together; null: as many as the processor's cache holds, all on a GPU
    micro_batch       prompts of each seed that pass through the policy at once; null: the whole batch. It changes
                      memory, not results
    diagnostics       also record what `training.diagnostics` computes, and the objective's own metrics

    Raises ValueError for a count below 1, or staleness below 0.
    """

    steps: int = 100
    epochs: int | None = None
    reference: str = "initial"
    staleness: int = 0
    log_every: int = 1
    checkpoint_every: int = 500
    seed_block: int | None = None
    micro_batch: int | None = None
    diagnostics: bool = False

    def __post_init__(self):
        for key in ("steps", "log_every", "checkpoint_every"):
            require(getattr(self, key) >= 1, key, getattr(self, key), ">= 1")
        for key in ("epochs", "seed_block", "micro_batch"):
            require(getattr(self, key) is None or getattr(self, key) >= 1, key, getattr(self, key), "null or >= 1")
        require(self.reference in REFERENCES, "reference", self.reference, " or ".join(REFERENCES))
        require(self.staleness >= 0, "staleness", self.staleness, ">= 0")


def layout(env: Env, objective: Objective, sampler: str) -> str:
    """The name in `SAMPLERS` of how this environment lays out candidates for this objective."""
    layouts = env.spec.token_samplers if sampler == "token_group" else env.spec.samplers
    return layouts[objective.rollouts]


def frozen(policy: Policy) -> Policy:
    """A copy that stays as the policy is now, and shares with it what never changes."""
    return copy.deepcopy(policy, {id(buffer): buffer for buffer in policy.buffers()}).requires_grad_(False)


@dataclass
class History:
    """Metrics (S,) at each recorded step; a seed is NaN from the step at which it turned non-finite."""

    steps: list[int] = field(default_factory=list)
    values: dict[str, list[Tensor]] = field(default_factory=dict)

    def append(self, step: int, metrics: dict[str, Tensor]) -> None:
        self.steps.append(step)
        for name, value in metrics.items():
            self.values.setdefault(name, []).append(value.detach())

    def arrays(self) -> dict:
        """{metric: numpy array (steps, S)}."""
        return {name: torch.stack(values).cpu().numpy() for name, values in self.values.items()}


class Trainer:
    """Trains the seeds of one configuration together; `state_dict` is its whole state."""

    def __init__(
        self,
        env: Env,
        policy: Policy,
        objective: Objective,
        optimizer: Optimizer,
        noise: Noise,
        cfg: TrainConfig,
        sampler: str = "auto",
    ):
        self.env, self.policy, self.objective, self.optimizer = env, policy, objective, optimizer
        self.noise, self.cfg = noise, cfg
        self.layout = layout(env, objective, sampler)
        self.sampler = SAMPLERS[self.layout]
        self.in_parts = self._split(policy)
        self.lagging = Lagging(policy, cfg.staleness)
        # a trainer is built from its seeds before a checkpoint is loaded, so this needs no place in one
        self.reference = frozen(policy) if objective.needs_reference else None
        self.epochs = cfg.epochs or env.spec.epochs or objective.epochs
        self.eval_at = env.spec.eval_at
        self.step = 0
        self.alive = torch.ones(len(noise.seeds), dtype=torch.bool, device=noise.device)
        self.steps_alive = torch.zeros(len(noise.seeds), dtype=torch.long, device=noise.device)
        self.history = History()

    def run(self, after_step: Callable[["Trainer"], None] = lambda trainer: None) -> History:
        """Train to the last step, calling `after_step` after each one."""
        while self.step < self.cfg.steps:
            self._train_step()
            after_step(self)
        return self.history

    def _train_step(self) -> None:
        self.step += 1
        logged = self.step in (1, self.cfg.steps) or self.step % self.cfg.log_every == 0
        noise = self.noise.at(self.step)
        rollout = self.rollout(noise)
        metrics = rollout.metrics | (
            self.env.evaluate(self.policy, noise) if logged and self.eval_at == "rollout" else {}
        )
        for epoch in range(self.epochs):
            grad_norm, info = self._epoch(rollout, epoch == 0)
            if logged and epoch == 0:
                metrics |= self.env.gradient_metrics(self.policy) | info
            self.optimizer.step(self.alive, grad_norm)
        self.steps_alive += self.alive
        if logged and self.cfg.diagnostics:
            with torch.no_grad():
                metrics |= diagnostics.of_update(rollout, rollout.logp(self.in_parts))
        if logged:
            metrics |= self.env.evaluate(self.policy, noise) if self.eval_at == "update" else {}
            metrics |= self._surplus()
            self.history.append(self.step, {k: torch.where(self.alive, v, torch.nan) for k, v in metrics.items()})

    def rollout(self, noise: Noise) -> Rollout:
        """Candidates of the policy that draws, and what the objective compares them with."""
        rollout = self.sampler(self.env, self._split(self.lagging.advance()), noise)
        return rollout if self.reference is None else rollout.beside(self._split(self.reference))

    def _epoch(self, rollout: Rollout, first: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Gradients in place; their norm (S,) and, where asked, diagnostics {name: (S,)}."""
        observed, size = first and self.cfg.diagnostics, self.cfg.micro_batch
        on_policy = first and not self.cfg.staleness
        matters = None if rollout.equal is None else rollout.matters(self.objective, on_policy)
        logp = self._logp(rollout, matters, on_policy)
        logp.retain_grad()
        loss, info = self.objective.loss(logp, rollout.batch)
        self.optimizer.zero_grad()
        loss.sum().backward()
        if size is not None:
            # a loss couples the candidates of a group, so it cannot be split; its gradient on their log-probs can
            rollout.backward(matters, self.policy, logp.grad, size)
        grad_norm = self.optimizer.grad_norm()
        info = diagnostics.of_first_epoch(rollout, grad_norm, logp.grad) | info if observed else {}
        # a non-finite seed is frozen where it is, while the others go on
        self.alive &= (loss.detach() + grad_norm).isfinite()
        return grad_norm, info

    def _split(self, policy: Policy) -> Policy | MicroBatches:
        return policy if self.cfg.micro_batch is None else MicroBatches(policy, self.cfg.micro_batch)

    def _logp(self, rollout: Rollout, matters: Tensor | None, on_policy: bool) -> Tensor:
        """Log-probs that need a gradient; with micro-batches they are a leaf, off the graph of the policy."""
        if matters is None:
            return rollout.logp(self.policy)
        if self.cfg.micro_batch is None:
            return rollout.logp_where(matters, self.policy)
        if on_policy:
            return rollout.batch.logp_old.clone().requires_grad_()
        with torch.no_grad():
            return rollout.logp_where(matters, self.in_parts).requires_grad_()

    def _surplus(self) -> dict[str, Tensor]:
        """`surplus.by_concentration` where a task knows what is right and the objective learns from single draws."""
        alone = self.objective.sampler in ("single", "set") and self.objective.baseline == "env"
        labelled = self.env.labelled() if self.cfg.diagnostics and alone else None
        if labelled is None:
            return {}
        features, labels = (x.to(self.noise.device) for x in labelled)
        with torch.no_grad():
            logits = self.policy.logits(features)
        return surplus.by_concentration(self.objective, self.layout, logits, labels)

    def frozen(self) -> dict[int, int]:
        """{seed: step at which it turned non-finite}."""
        pairs = zip(self.noise.seeds, self.alive.tolist(), self.steps_alive.tolist(), strict=True)
        return {seed: steps + 1 for seed, alive, steps in pairs if not alive}

    def state_dict(self) -> dict:
        return {
            "step": self.step,
            "alive": self.alive,
            "steps_alive": self.steps_alive,
            "policy": self.policy.state_dict(),
            "past": list(self.lagging.past),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.history.steps,
            "values": {name: torch.stack(v) for name, v in self.history.values.items()},
        }

    def load_state_dict(self, state: dict) -> None:
        self.step, self.alive, self.steps_alive = state["step"], state["alive"], state["steps_alive"]
        self.policy.load_state_dict(state["policy"])
        self.lagging.past.extend(state.get("past", ()))
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = History(state["steps"], {name: list(v) for name, v in state["values"].items()})
