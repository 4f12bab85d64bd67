"""The suite's objectives inside TRL: exact for any micro-batch, accumulation and number of processes.

from engines.trl import GroupObjectiveTrainer
GroupObjectiveTrainer(objective=TPO(), model=..., args=GRPOConfig(...), reward_funcs=..., train_dataset=...).train()
"""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from algorithms.base import Objective
from engines.weights import require_group_objective, token_weights

# settings of TRL's own loss, which the objective replaces
IGNORED = (
    "delta",
    "entropy_coef",
    "epsilon",
    "epsilon_high",
    "importance_sampling_level",
    "loss_type",
    "mask_truncated_completions",
    "multi_objective_aggregation",
    "off_policy_mask_threshold",
    "scale_rewards",
    "top_entropy_quantile",
    "use_adaptive_entropy",
    "use_bias_correction_kl",
)


def check(objective: Objective, args: GRPOConfig, has_reference: bool) -> None:
    """Raise ValueError for an objective or a setting that cannot be honoured; the message says what to change."""
    require_group_objective(objective)
    if args.steps_per_generation != args.gradient_accumulation_steps:
        raise ValueError(
            f"steps_per_generation={args.steps_per_generation}: must equal gradient_accumulation_steps="
            f"{args.gradient_accumulation_steps}, so that each optimiser step sees whole groups"
        )
    for field in dataclasses.fields(GRPOConfig):
        value = getattr(args, field.name, None)
        if field.name in IGNORED and value != field.default:
            raise ValueError(
                f"{field.name}={value}: belongs to the loss of TRL, which objective={objective.name} replaces; leave "
                f"it out"
            )
    if objective.needs_reference and not (args.beta or has_reference):
        raise ValueError(
            f"beta={args.beta}: must be > 0, since objective={objective.name} reads a reference policy; or "
            f"give reference_logp"
        )
    if args.beta and not objective.needs_reference:
        raise ValueError(
            f"beta={args.beta}: must be 0, since objective={objective.name} reads no reference policy; "
            f"algorithms.kl_penalty.KLPenalty(objective, beta) adds a penalty to any objective"
        )


class GroupObjectiveTrainer(GRPOTrainer):
    """TRL's GRPOTrainer with the loss of any objective that needs only scored completions.

    Before each optimiser step it computes the log-probs of all completions without a graph, gathers them, and takes the
    gradient of the objective on each of them (`engines.weights.token_weights`). The loss of a micro-batch is the sum of
    gradient times log-prob, so groups may be split in any way. `num_iterations` counts the gradient epochs.
    Log-probs are computed more than once, so a model with dropout needs `disable_dropout=True`.
    `vllm_importance_sampling_correction` only makes TRL record the mismatch. Evaluation reports TRL's own loss.

    objective       an `algorithms.base.Objective`; the other arguments are those of GRPOTrainer
    reference_logp  (inputs of a micro-batch) -> log-probs (N,T) of its completions under the reference policy, for an
                    objective that reads one; None: TRL loads the model again where beta > 0

    Raises ValueError as `check` does.
    """

    def __init__(
        self,
        *args: Any,
        objective: Objective,
        reference_logp: Callable[[dict[str, Any]], Tensor] | None = None,
        **kwargs: Any,
    ):
        given = inspect.signature(GRPOTrainer).bind(*args, **kwargs).arguments
        check(objective, given.get("args") or GRPOConfig(), reference_logp is not None)  # before a model is loaded
        super().__init__(*args, **kwargs)
        self.objective = objective
        self.reference_logp = reference_logp or (lambda inputs: inputs["ref_per_token_logps"])

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        rewards = super()._calculate_rewards(*args, **kwargs)  # of all processes, in their order
        self._scores = (rewards * self.reward_weights.to(rewards.device)).nansum(dim=1)
        if rewards.isnan().all(dim=1).any():  # TRL leaves them out of their groups
            raise ValueError("reward_funcs: all returned None for a completion, which must have a score")
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        count = len(output["completion_ids"])
        start = self.accelerator.process_index * count
        if "pixel_values" in output:
            raise ValueError("train_dataset: must have no images, which the log-probs of an objective would not read")
        output["loss_mask"] = output["completion_mask"] * output.get("tool_mask", 1)  # what tools say is not learnt
        output["row"] = torch.arange(start, start + count, device=self._scores.device)
        output["score"] = self._scores[start : start + count]
        return output

    def _prepare_inputs(self, generation_batch: dict[str, Any]) -> dict[str, Any]:
        inputs = super()._prepare_inputs(generation_batch)
        if self.model.training and self._step % self.args.steps_per_generation == 0:
            self._set_weights(self._buffered_inputs)
        return inputs

    @torch.no_grad()
    def _set_weights(self, micro_batches: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Give each micro-batch the gradient of the objective on the log-probs of its tokens, as "weights".

        Returns the metrics of the loss.
        """
        for inputs in micro_batches:
            inputs["logp"] = self._logp(self.model, inputs)
            inputs.setdefault("logp_old", inputs["logp"])  # the first epoch is on the policy that drew the completions
            if self.objective.needs_reference and "logp_ref" not in inputs:
                inputs["logp_ref"] = self.reference_logp(inputs)
        names = ("logp", "logp_old", "score", "loss_mask", *("logp_ref",) * self.objective.needs_reference)
        found = self._gathered(micro_batches, names).values()
        logp, logp_old, score, mask, *ref = (self._to_full_length(x.float()) for x in found)
        weights, metrics = token_weights(self.objective, logp, logp_old, score, mask, self.num_generations, *ref)
        for inputs in micro_batches:
            inputs["weights"] = weights[inputs["row"], : inputs["logp"].shape[1]]
        for name, value in metrics.items():
            self._metrics["train"][f"objective/{name}"].append(value.item())
        return metrics

    def _gathered(self, micro_batches: list[dict[str, Any]], names: Sequence[str]) -> dict[str, Tensor]:
        """These inputs of all micro-batches of all processes, groups one after the other, padded to one length."""
        found = {}
        for name in ("row", *names):
            value = torch.cat([inputs[name] for inputs in micro_batches])
            if value.dim() > 1:
                value = self.accelerator.pad_across_processes(value, dim=1)
            found[name] = self.accelerator.gather(value)
        order = found.pop("row").argsort()
        return {name: value[order] for name, value in found.items()}

    def _to_full_length(self, x: Tensor) -> Tensor:
        """Pad (N,T) to the tokens that a completion may have: Dr. GRPO divides by the length of the tensors."""
        missing = (self.max_completion_length or 0) - x.shape[-1]
        return F.pad(x, (0, missing)) if x.dim() > 1 and missing > 0 else x

    def _logp(self, model: torch.nn.Module, inputs: dict[str, Any]) -> Tensor:
        """Log-probs (N,T) of completions, in nats; 0 where `loss_mask` is 0."""
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        logp, _, _ = self._get_per_token_logps_and_entropies(model, ids, mask, inputs["completion_ids"].shape[1])
        return torch.where(inputs["loss_mask"].bool(), logp, 0.0)

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> Tensor:
        if not self.model.training:
            return super()._compute_loss(model, inputs)
        # processes average their gradients, and the weights are those of the sum
        return (inputs["weights"] * self._logp(model, inputs)).sum() * self.accelerator.num_processes
