"""Trains one seed of an experiment with TRL: the suite's prompts, grades, metrics and store around TRL's trainer.

Generation, log-probs, gradients and processes are TRL's. `accelerate launch run.py ... engine=trl` starts several.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import GenerationConfig, PrinterCallback, TrainerCallback
from trl import GRPOConfig

from engines.trl import GroupObjectiveTrainer
from envs.rlvr.base import Problem
from envs.rlvr.tokens import decode
from rollouts.vllm import reload_weights
from training import distributed
from training.history import History
from training.loop import Trainer
from training.rollout import Rollout
from training.samplers.completions import Completions, completion_rollout

BATCH = ("completion_ids", "completion_mask", "logp_old", "drawn_logp", "truncated")


class TRLTraining(Trainer):
    """The suite's trainer, in which TRL draws the completions and takes the gradient steps.

    Policy, optimiser, observers and history are the suite's own, so a checkpoint is that of `Trainer`. Rounding apart,
    a step is the same function of its completions. The completions differ, since TRL draws them.

    model   settings of the language model
    """

    def __init__(self, *args: Any, model: Any):
        super().__init__(*args)
        self.model = model
        self._last: dict[str, Tensor] = {}  # metrics of the newest step

    def run(self, after_step: Callable[[Trainer], None] = lambda trainer: None) -> History:
        self._measure_before_the_first_step(after_step)
        if self.step < self.cfg.steps and self.alive.all():
            with tempfile.TemporaryDirectory() as folder, self._sampling_from_all_tokens():
                trainer = _SuiteTrainer(self, folder)
                trainer.remove_callback(PrinterCallback)
                trainer.add_callback(_Steps(self, after_step))
                self._train(trainer)
        while self.step < self.cfg.steps:  # of a seed that turned non-finite
            self._skip_step()
            after_step(self)
        return self.history

    @contextmanager
    def _sampling_from_all_tokens(self) -> Iterator[None]:
        """Give the model a new generation config while TRL draws by it, since its own may leave tokens out."""
        model, stops = self.policy.causal_lm, list(self.policy.engine.stops)
        own = model.generation_config
        model.generation_config = GenerationConfig(eos_token_id=stops)
        try:
            yield
        finally:
            model.generation_config = own

    def _train(self, trainer: GroupObjectiveTrainer) -> None:
        try:
            trainer.train()
        except RuntimeError as error:
            if "probability tensor contains" not in str(error):  # of a model whose outputs are not finite
                raise
            self.alive[:] = False

    def on_rollout(self, rollout: Rollout, objective_metrics: dict[str, Tensor]) -> None:
        """Called with the completions of the next step and the metrics of their loss, before the gradient."""
        self.step += 1
        self._rollout = rollout
        self._last = self.observers.on_rollout(self, rollout)
        # TRL has no gradient yet, and the observers that it trains with read none
        unread = torch.zeros(1)
        objective_metrics = {name: value.view(1) for name, value in objective_metrics.items()}
        self._last |= self.observers.on_first_gradient(self, rollout, unread, unread, objective_metrics)

    def on_step_end(self) -> None:
        """Called after the last epoch of a step."""
        self.steps_alive += self.alive
        self.policy.model.eval()  # a layer that recomputes its activations keeps no cache in training
        self._record(self._last | self.observers.on_step_end(self, self._rollout))
        self.policy.model.train()


class _Steps(TrainerCallback):
    """Tells the suite of gradient steps, and TRL to stop at a gradient that is not finite."""

    def __init__(self, training: TRLTraining, after_step: Callable[[Trainer], None]):
        self.training, self.after_step = training, after_step

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        params = self.training.optimizer.params
        if not all(p.grad.isfinite().all() for p in params if p.grad is not None):
            self.training.alive[:] = False
            self.training.optimizer.zero_grad()  # the seed stays as it is
            control.should_training_stop = True

    def on_step_end(self, args, state, control, **kwargs):
        training = self.training
        training.optimizer.count += 1
        torch.autograd.graph.increment_version(training.optimizer.weights)  # the fused kernel does not
        if state.global_step % training.epochs == 0 or not training.alive.all():
            training.on_step_end()
            self.after_step(training)


class _SuiteTrainer(GroupObjectiveTrainer):
    """TRL's trainer with the problems, prompts and grades of a task of the suite."""

    def __init__(self, training: TRLTraining, folder: str):
        self.training = training
        env, policy = training.env, training.policy
        self._problems = env.problems("train")
        inner = training.optimizer.inner
        for group in inner.param_groups:
            group["lr"] = training.optimizer.cfg.lr
        logging.getLogger("accelerate").setLevel(logging.ERROR)
        super().__init__(
            objective=training.objective,
            reference_logp=self._reference_logp if training.reference else None,
            model=policy.model,
            args=_arguments(training, folder),
            reward_funcs=self._grade,
            train_dataset=_problems_to_draw(training),
            processing_class=policy.tokenizer,
            optimizers=(inner, torch.optim.lr_scheduler.LambdaLR(inner, _warmup(training.optimizer))),
        )
        if self.use_vllm and self.accelerator.device.type == "cpu":
            # vLLM keeps packed copies of its weights on most CPUs, and only its own reload packs them again. TRL
            # writes into the weights before packing, which are gone, and leaves out a tied head.
            self.vllm_generation.sync_weights = partial(reload_weights, self.vllm_generation.llm, policy.model)

    def _grade(self, completion_ids: list[list[int]], problem: list[int], **kwargs: Any) -> list[float]:
        env, policy = self.training.env, self.training.policy
        texts = [decode(ids, policy.tokenizer, policy.end_tokens) for ids in completion_ids]
        self._grades = env.submit([self._problems[i] for i in problem], texts).result()
        return [grade.score for grade in self._grades]

    def _tokenize_prompts(self, prompts: list[str]):
        env, tokenizer = self.training.env, self.training.policy.tokenizer
        return [env.encode(Problem(prompt, ""), tokenizer) for prompt in prompts], None, {}

    def _generate_single_turn(self, *args: Any, **kwargs: Any):
        start = time.monotonic()
        noise = self.training.noise.at_step(self.training.step + 1)
        # so that a run that goes on from a checkpoint draws what it would have drawn
        torch.manual_seed(int(noise.uniform("action", 1).item() * 2**24) + self.accelerator.process_index)
        found = super()._generate_single_turn(*args, **kwargs)
        self._seconds = time.monotonic() - start
        return found

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        last = output["completion_mask"].sum(1, keepdim=True) - 1
        ends = torch.tensor(self.eos_token_ids, device=last.device)
        output["truncated"] = ~torch.isin(output["completion_ids"].gather(1, last).squeeze(1), ends)
        return output

    def _reference_logp(self, inputs: dict[str, Any]) -> Tensor:
        prompts, tokens = (
            inputs[f"{name}_ids"].masked_fill(inputs[f"{name}_mask"] == 0, -1) for name in ("prompt", "completion")
        )
        return self.training.reference.logp(prompts.unsqueeze(0), tokens[None, :, None])[0, :, 0]

    def _set_weights(self, micro_batches: list[dict[str, Any]]) -> dict[str, Tensor]:
        metrics = super()._set_weights(micro_batches)
        if self._step % (self.args.steps_per_generation * self.num_iterations) == 0:
            self.training.on_rollout(self._rollout(micro_batches), metrics)
        return metrics

    @torch.no_grad()
    def _rollout(self, micro_batches: list[dict[str, Any]]) -> Rollout:
        """The completions of all processes, as the suite's own sampler gives them."""
        for inputs in micro_batches:
            inputs["drawn_logp"] = inputs.get("sampling_per_token_logps", inputs["logp_old"])
        whole, k = self._gathered(micro_batches, BATCH), self.num_generations
        shape = (1, -1, k, whole["completion_ids"].shape[1])
        tokens = whole["completion_ids"].masked_fill(whole["completion_mask"] == 0, -1)
        found = Completions(
            prompts=tokens.new_empty(1, len(tokens) // k, 0),  # nobody computes log-probs of this rollout
            tokens=tokens.view(shape),
            logp=whole["drawn_logp"].view(shape),
            truncated=whole["truncated"].view(shape[:3]),
            texts=[],
            pending=None,
            tokens_per_second=int(whole["completion_mask"].sum()) / self._seconds,
        )
        grades = distributed.all_gather(self._grades)
        return completion_rollout(found, whole["logp_old"].view(shape), grades, self.training.policy.max_mismatch)


def _problems_to_draw(training: TRLTraining) -> Dataset:
    """The problems that the suite's own trainer draws, in their order, for the steps that are left."""
    problems = training.env.problems("train")
    steps = range(training.step + 1, training.cfg.steps + 1)
    numbers = [i for step in steps for i in training.env.contexts(training.noise.at_step(step))[0].tolist()]
    return Dataset.from_dict({"prompt": [problems[i].prompt for i in numbers], "problem": numbers})


def _warmup(optimizer) -> Callable[[int], float]:
    """Factor of the learning rate after so many steps of TRL."""
    done, warm = optimizer.count, max(1, optimizer.cfg.warmup_steps)
    return lambda steps: min(1.0, (done + steps + 1) / warm)


def _arguments(training: TRLTraining, folder: str) -> GRPOConfig:
    env, cfg, model = training.env, training.cfg, training.model
    completions = env.batch * env.candidates // distributed.world_size()  # of this process
    micro_batch = cfg.micro_batch or completions
    arguments = GRPOConfig(
        output_dir=folder,
        max_steps=(cfg.steps - training.step) * training.epochs,
        num_iterations=training.epochs,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=completions // micro_batch,
        num_generations=env.candidates,
        max_completion_length=env.max_new_tokens,
        max_grad_norm=training.optimizer.cfg.max_grad_norm,
        shuffle_dataset=False,
        disable_dropout=True,  # log-probs of a completion are computed several times
        beta=0.0,
        bf16=model.dtype == "bfloat16",
        gradient_checkpointing=model.gradient_checkpointing,
        use_vllm=model.engine == "vllm",
        vllm_mode="colocate",
        vllm_gpu_memory_utilization=model.vllm_memory,
        use_cpu=training.noise.device.type == "cpu",
        seed=training.noise.seeds[0],
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # this process trains on one GPU; `accelerate launch` starts others
    return arguments
