"""The training loop: draw a rollout, then take gradient steps on its loss. All seeds train at once.

S seeds lead every tensor and share nothing: loss.sum() gives each seed its own gradient.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from algorithms.base import Objective
from algorithms.kl_penalty import KLPenalty
from envs.base import Env
from models.base import Policy
from training import distributed
from training.behavior import BehaviorPolicy
from training.checks import check_logp, check_loss
from training.config import TrainConfig
from training.gradient import OnePass, TwoPass, split_policy
from training.history import History
from training.noise import Noise
from training.observers import build_observers
from training.optim import Optimizer
from training.rollout import Rollout
from training.samplers import SAMPLERS, sampler_name


class Trainer:
    """Trains the seeds of one configuration together; `state_dict` holds its whole state.

    sampler  the setting of that name: "auto" for what the objective compares, "token_group" for groups of next tokens
    """

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
        self.env, self.policy, self.optimizer, self.noise, self.cfg = env, policy, optimizer, noise, cfg
        self.objective = KLPenalty(objective, cfg.kl_beta) if cfg.kl_beta else objective
        self.epochs = cfg.epochs or env.spec.epochs or objective.epochs
        self.sampler_name = sampler_name(env, objective, sampler)
        self.sampler = SAMPLERS[self.sampler_name]
        self.behavior = BehaviorPolicy(policy, cfg.staleness)
        # a trainer is built from its seeds before a checkpoint is loaded, so that no checkpoint needs to hold this
        self.reference = policy.frozen_copy() if self.objective.needs_reference else None
        if cfg.micro_batch is not None or distributed.world_size() > 1:
            self.gradient = TwoPass(policy, optimizer.params, cfg.micro_batch)
        else:
            self.gradient = OnePass(policy, exact_ratio=env.spec.is_text, retain_grad=cfg.diagnostics)
        self.observers = build_observers(env, objective, self.sampler_name, cfg)
        self.step = 0
        self.alive = torch.ones(len(noise.seeds), dtype=torch.bool, device=noise.device)
        self.lost_to_rewards = ~self.alive
        self.steps_alive = torch.zeros(len(noise.seeds), dtype=torch.long, device=noise.device)
        self.history = History()
        self.evaluation_seconds: float | None = None  # of the last evaluation
        self.evaluating = 0.0  # seconds that evaluations have taken since the trainer was built
        self.samples: list[dict] = []  # completions of evaluations, until `take_samples` is called

    def run(self, after_step: Callable[["Trainer"], None] = lambda trainer: None) -> History:
        """Train up to the last step, and call `after_step` after each one."""
        self._measure_before_the_first_step(after_step)
        while self.step < self.cfg.steps:
            # the completions of a language model are slow to draw, and those of a lost one are good for nothing
            if self.env.spec.is_text and not self.alive.any():
                self._skip_step()
            else:
                self.train_step()
            after_step(self)
        return self.history

    def _measure_before_the_first_step(self, after_step: Callable[["Trainer"], None]) -> None:
        """Record what is measured before training, and call `after_step` if there is anything."""
        if self.step == 0 and not self.history.values:  # a checkpoint may hold it
            self._record(self.observers.on_start(self))
            if self.history.values:
                after_step(self)

    def train_step(self) -> None:
        """Draw one rollout, and take one gradient step on it in each epoch."""
        self.step += 1
        rollout = self.rollout(self.noise.at_step(self.step))
        # a method cannot learn from rewards that are not finite
        finite = rollout.batch.score.sum((-1, -2)).isfinite()
        self.lost_to_rewards |= self.alive & ~finite
        self.alive &= finite
        metrics = self.observers.on_rollout(self, rollout)
        for epoch in range(self.epochs):
            on_policy = epoch == 0 and self.cfg.staleness == 0
            logp = check_logp(self.gradient.logp(rollout, self.objective, on_policy), self.policy)
            found = self.objective.loss(logp, rollout.batch)
            loss, objective_metrics = check_loss(found, self.objective, len(self.alive))
            self.optimizer.zero_grad()
            loss.sum().backward()
            grad_norm = self.optimizer.grad_norm()
            self.alive &= (loss.detach() + grad_norm).isfinite()
            if epoch == 0:
                metrics |= self.observers.on_first_gradient(self, rollout, logp, grad_norm, objective_metrics)
            self.optimizer.step(self.alive, grad_norm)  # a seed that turned non-finite stays as it is
        self.steps_alive += self.alive
        metrics |= self.observers.on_step_end(self, rollout)
        self._record(metrics)

    def _skip_step(self) -> None:
        """A step of seeds that all turned non-finite: nothing is drawn, and every metric is NaN."""
        self.step += 1
        held_out, evaluates = f"{self.cfg.eval_split}_", self.cfg.evaluates_at(self.step)
        for name, values in list(self.history.values.items()):  # at the other seeds' steps
            if evaluates if name.startswith(held_out) else self.is_recorded_step:
                self._record({name: values[-1]})

    def rollout(self, noise: Noise) -> Rollout:
        """Scored candidates of the behaviour policy, with log-probs under the reference policy where there is one."""
        policy = split_policy(self.behavior.next_rollout_policy(), self.cfg.micro_batch)
        rollout = self.sampler(self.env, policy, noise)
        if self.reference is None:
            return rollout
        return rollout.with_reference(split_policy(self.reference, self.cfg.micro_batch))

    @property
    def is_recorded_step(self) -> bool:
        """Whether the metrics of the current step are recorded."""
        return self.step in (1, self.cfg.steps) or self.step % self.cfg.log_every == 0

    def _record(self, metrics: dict[str, Tensor]) -> None:
        """Append the metrics of the current step to the history, NaN for the seeds that turned non-finite."""
        values = {name: torch.where(self.alive, value, torch.nan) for name, value in metrics.items()}
        self.history.append(self.step, values)

    def frozen_seeds(self) -> dict[int, int]:
        """{seed: step at which it turned non-finite}."""
        pairs = zip(self.noise.seeds, self.alive.tolist(), self.steps_alive.tolist(), strict=True)
        return {seed: steps + 1 for seed, alive, steps in pairs if not alive}

    def cause_of_loss(self, seed: int) -> str:
        """What turned non-finite first for a frozen seed."""
        return "rewards" if self.lost_to_rewards[self.noise.seeds.index(seed)] else "loss or gradient"

    def take_samples(self) -> list[dict]:
        """The completions that evaluations kept since the last call."""
        taken, self.samples = self.samples, []
        return taken

    def state_dict(self) -> dict:
        return {
            "step": self.step,
            "alive": self.alive,
            "steps_alive": self.steps_alive,
            "lost_to_rewards": self.lost_to_rewards,
            "policy": self.policy.state_dict(),
            "past": list(self.behavior.past),
            "optimizer": self.optimizer.state_dict(),
            "observers": self.observers.state_dict(),
            "at": self.history.recorded_steps,
            "values": {name: torch.stack(v) for name, v in self.history.values.items()},
        }

    def load_state_dict(self, state: dict) -> None:
        self.step, self.alive, self.steps_alive = state["step"], state["alive"], state["steps_alive"]
        self.lost_to_rewards = state.get("lost_to_rewards", self.lost_to_rewards)
        self.policy.load_state_dict(state["policy"])
        self.behavior.past.extend(state.get("past", ()))
        self.optimizer.load_state_dict(state["optimizer"])
        self.observers.load_state_dict(state.get("observers", {}))
        self.history = History(state["at"], {name: list(v) for name, v in state["values"].items()})
