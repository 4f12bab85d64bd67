"""The training loop: contexts -> candidates -> scores -> epochs x (loss, step) -> metrics, all seeds at once."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.aggregate import token_mean
from algorithms.base import Objective, require
from algorithms.ratios import k3
from envs.base import Env
from models.base import MicroBatchedPolicy, Policy
from training import completions, diagnostics, distributed, surplus
from training.behavior import BehaviorPolicy
from training.evaluation import evaluate
from training.history import History
from training.noise import Noise
from training.optim import Optimizer
from training.sampling import SAMPLERS, Rollout

PHASES = ("rl", "sft")
REFERENCES = ("initial", "none")
SPLITS = ("validation", "test")


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
    micro_batch       prompts of each seed that pass through the policy at once, of a language model completions; null:
                      the whole batch. It changes memory, not results
    diagnostics       also record what `training.diagnostics` computes, and the objective's own metrics
    kl_beta           weight of a penalty for leaving the first policy (mean k3 per token), beside the objective's own
    eval_every        of a language model, steps between two evaluations on eval_problems problems of eval_split, beside
                      those before the first step and after the last; null: only these two
    phase             rl, or sft: only the warm start of a model that has one

    Raises ValueError for a count below 1, a value below 0, or an unknown word.
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
    kl_beta: float = 0.0
    eval_every: int | None = None
    eval_problems: int = 256
    eval_split: str = "test"
    phase: str = "rl"

    def __post_init__(self):
        for key in ("steps", "log_every", "checkpoint_every", "eval_problems"):
            require(getattr(self, key) >= 1, key, getattr(self, key), ">= 1")
        require(self.kl_beta >= 0, "kl_beta", self.kl_beta, ">= 0")
        require(self.eval_split in SPLITS, "eval_split", self.eval_split, f"one of {', '.join(SPLITS)}")
        require(self.phase in PHASES, "phase", self.phase, f"one of {', '.join(PHASES)}")
        for key in ("epochs", "seed_block", "micro_batch", "eval_every"):
            require(getattr(self, key) is None or getattr(self, key) >= 1, key, getattr(self, key), "null or >= 1")
        require(self.reference in REFERENCES, "reference", self.reference, " or ".join(REFERENCES))
        require(self.staleness >= 0, "staleness", self.staleness, ">= 0")


def layout(env: Env, objective: Objective, sampler: str) -> str:
    """The name in `SAMPLERS` of how this environment lays out candidates for this objective."""
    layouts = env.spec.token_samplers if sampler == "token_group" else env.spec.samplers
    return layouts[objective.required_sampler]


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
        samplers = SAMPLERS | completions.SAMPLERS
        self.sampler, self.in_words = samplers[self.layout], self.layout in completions.SAMPLERS
        self.in_two_passes = cfg.micro_batch is not None or distributed.world_size() > 1
        self.in_parts = self._split(policy)
        self.behavior = BehaviorPolicy(policy, cfg.staleness)
        # a trainer is built from its seeds before a checkpoint is loaded, so this needs no place in one
        self.reference = policy.frozen_copy() if cfg.kl_beta or objective.needs_reference else None
        self.epochs = cfg.epochs or env.spec.epochs or objective.epochs
        self.eval_at = env.spec.eval_at
        self.step = 0
        self.alive = torch.ones(len(noise.seeds), dtype=torch.bool, device=noise.device)
        self.steps_alive = torch.zeros(len(noise.seeds), dtype=torch.long, device=noise.device)
        self.history = History()
        self.samples: list[dict] = []  # of evaluations, until someone takes them

    def run(self, after_step: Callable[["Trainer"], None] = lambda trainer: None) -> History:
        """Train to the last step, calling `after_step` after each one."""
        if self.step == 0:
            self.history.append(0, self._held_out())
        while self.step < self.cfg.steps:
            self.train_step()
            after_step(self)
        return self.history

    def train_step(self) -> None:
        self.step += 1
        logged = self.step in (1, self.cfg.steps) or self.step % self.cfg.log_every == 0
        noise = self.noise.at_step(self.step)
        rollout = self.rollout(noise)
        metrics = rollout.metrics | (
            self.env.evaluate(self.policy, noise) if logged and self.eval_at == "rollout" else {}
        )
        start = time.monotonic()
        for epoch in range(self.epochs):
            grad_norm, info = self._epoch(rollout, epoch == 0)
            if logged and epoch == 0:
                metrics |= self.env.gradient_metrics(self.policy) | info
            self.optimizer.step(self.alive, grad_norm)
        if rollout.tokens:
            metrics |= self._speed(self.epochs * rollout.tokens, start)
        self.steps_alive += self.alive
        if logged and self.cfg.diagnostics:
            with torch.no_grad():
                metrics |= diagnostics.of_update(rollout, rollout.logp(self.in_parts))
        if logged:
            metrics |= self.env.evaluate(self.policy, noise) if self.eval_at == "update" else {}
            metrics |= self._surplus()
        found = (metrics if logged else {}) | self._held_out()
        self.history.append(self.step, {k: torch.where(self.alive, v, torch.nan) for k, v in found.items()})

    def _held_out(self) -> dict[str, Tensor]:
        """What `evaluate` finds, when it is due: before the first step, after the last, and every eval_every steps."""
        every, step = self.cfg.eval_every or self.cfg.steps, self.step
        if not self.in_words or (step % every and step < self.cfg.steps):
            return {}
        noise, cfg = self.noise.at_step(step), self.cfg
        metrics, samples = evaluate(self.env, self.policy, noise, cfg.eval_split, cfg.eval_problems)
        self.samples += [{"seed": self.noise.seeds[0], "step": step} | sample for sample in samples]
        return metrics

    def take_samples(self) -> list[dict]:
        """The completions of evaluations since it was last called."""
        taken, self.samples = self.samples, []
        return taken

    def _speed(self, tokens: int, start: float) -> dict[str, Tensor]:
        if torch.device(self.noise.device).type == "cuda":
            torch.cuda.synchronize()
        speed = tokens / (time.monotonic() - start)
        return {"update_tokens_per_second": torch.full(self.alive.shape, speed, device=self.alive.device)}

    def rollout(self, noise: Noise) -> Rollout:
        """Candidates of the policy that draws, and what the objective compares them with."""
        rollout = self.sampler(self.env, self._split(self.behavior.next_rollout_policy()), noise)
        return rollout if self.reference is None else rollout.with_reference(self._split(self.reference))

    def _epoch(self, rollout: Rollout, first: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Gradients in place; their norm (S,) and, where asked, metrics {name: (S,)}."""
        observed, size = first and self.cfg.diagnostics, self.cfg.micro_batch
        on_policy = first and not self.cfg.staleness
        active_rows = None if rollout.equal is None else rollout.active_rows(self.objective, on_policy)
        if self.cfg.kl_beta and active_rows is not None:
            active_rows = torch.ones_like(active_rows)  # the penalty pulls on what the objective leaves alone
        logp = self._logp(rollout, active_rows, on_policy)
        if observed and not logp.is_leaf:
            logp.retain_grad()
        loss, info = self.objective.loss(logp, rollout.batch)
        info = info if observed else {}
        if self.cfg.kl_beta:
            batch = rollout.batch
            info |= {"kl_reference": token_mean(k3(logp, batch.logp_ref), batch.mask, batch.weight)}
            loss = loss + self.cfg.kl_beta * info["kl_reference"]
        self.optimizer.zero_grad()
        loss.sum().backward()
        if self.in_two_passes:
            # a loss couples the candidates of a group, so it cannot be split; its gradient on their log-probs can
            rollout.backward(active_rows, self.policy, logp.grad, size)
            distributed.all_reduce_gradients(self.optimizer.params)
        grad_norm = self.optimizer.grad_norm()
        info |= diagnostics.of_first_epoch(rollout, grad_norm, logp.grad) if observed else {}
        # a non-finite seed is frozen where it is, while the others go on
        self.alive &= (loss.detach() + grad_norm).isfinite()
        return grad_norm, info

    def _split(self, policy: Policy) -> Policy | MicroBatchedPolicy | distributed.ShardedPolicy:
        policy = policy if self.cfg.micro_batch is None else MicroBatchedPolicy(policy, self.cfg.micro_batch)
        return policy if distributed.world_size() == 1 else distributed.ShardedPolicy(policy)

    def _logp(self, rollout: Rollout, active_rows: Tensor | None, on_policy: bool) -> Tensor:
        """Log-probs that need a gradient; in two passes they are a leaf, off the graph of the policy."""
        if active_rows is None:
            return rollout.logp(self.policy)
        if not self.in_two_passes:
            found = rollout.logp_of_active_rows(active_rows, self.policy)
            # a low-precision model rounds otherwise with a cache than without: the ratio to itself is 1 all the same
            return rollout.batch.logp_old + (found - found.detach()) if on_policy and self.in_words else found
        if on_policy:
            return rollout.batch.logp_old.clone().requires_grad_()
        with torch.no_grad():
            return rollout.logp_of_active_rows(active_rows, self.in_parts).requires_grad_()

    def _surplus(self) -> dict[str, Tensor]:
        """`surplus.by_concentration` where a task knows what is right and the objective learns from single draws."""
        alone = self.objective.sampler in ("single", "set") and self.objective.baseline == "env"
        labelled = self.env.labelled_contexts() if self.cfg.diagnostics and alone else None
        if labelled is None:
            return {}
        features, labels = (x.to(self.noise.device) for x in labelled)
        with torch.no_grad():
            logits = self.policy.logits(features)
        return surplus.by_concentration(self.objective, self.layout, logits, labels)

    def frozen_seeds(self) -> dict[int, int]:
        """{seed: step at which it turned non-finite}."""
        pairs = zip(self.noise.seeds, self.alive.tolist(), self.steps_alive.tolist(), strict=True)
        return {seed: steps + 1 for seed, alive, steps in pairs if not alive}

    def state_dict(self) -> dict:
        return {
            "step": self.step,
            "alive": self.alive,
            "steps_alive": self.steps_alive,
            "policy": self.policy.state_dict(),
            "past": list(self.behavior.past),
            "optimizer": self.optimizer.state_dict(),
            "at": self.history.recorded_steps,
            "values": {name: torch.stack(v) for name, v in self.history.values.items()},
        }

    def load_state_dict(self, state: dict) -> None:
        self.step, self.alive, self.steps_alive = state["step"], state["alive"], state["steps_alive"]
        self.policy.load_state_dict(state["policy"])
        self.behavior.past.extend(state.get("past", ()))
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = History(state["at"], {name: list(v) for name, v in state["values"].items()})
