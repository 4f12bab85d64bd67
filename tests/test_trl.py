"""Objectives inside TRL: one step is that of the whole loss on the same completions, however they are split."""

import dataclasses
import os
import subprocess
import sys

import pytest
import torch
from torch.testing import assert_close

from algorithms.base import scored_completions
from tests import helpers
from tests.helpers import ROOT

pytestmark = pytest.mark.engines
PROMPTS = ["a b", "b a c", "c", "a a"]
LETTERS = ["<pad>", "<eos>", *"abcdefgh"]
K, LR = 4, 0.1


def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(LETTERS)}, unk_token="<eos>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")


def model():
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    size |= {"num_key_value_heads": 1, "head_dim": 8, "vocab_size": len(LETTERS), "initializer_range": 0.5}
    return Qwen3ForCausalLM(Qwen3Config(**size, pad_token_id=0, eos_token_id=1, bos_token_id=None))


def reward(completions, **kwargs):
    return [float(sum(letter in "aceg" for letter in text) % 2) for text in completions]


def trainer(folder, objective, reward_funcs=reward, rollout_func=None, **settings):
    from datasets import Dataset
    from trl import GRPOConfig

    from engines.trl import GroupObjectiveTrainer

    defaults = {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 1, "num_generations": K}
    defaults |= {"max_steps": 1, "learning_rate": LR, "optim": "sgd", "lr_scheduler_type": "constant", "beta": 0.0}
    defaults |= {"max_grad_norm": 1e9, "max_completion_length": 5, "report_to": "none", "use_cpu": True, "seed": 1}
    defaults |= {"save_strategy": "no", "logging_steps": 1, "disable_tqdm": True, "bf16": False}
    args = GRPOConfig(output_dir=str(folder), **defaults | settings)
    data = Dataset.from_dict({"prompt": PROMPTS * 4})
    return GroupObjectiveTrainer(
        objective=objective,
        model=model(),
        args=args,
        reward_funcs=reward_funcs,
        rollout_func=rollout_func,
        train_dataset=data,
        processing_class=tokenizer(),
    )


def completions_of(found) -> dict[str, torch.Tensor]:
    """What the trainer drew, in the order of its groups."""
    batches = found._buffered_inputs
    names = ("row", "prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "loss_mask", "score", "logp_old")
    whole = {name: torch.cat([batch[name] for batch in batches]) for name in names}
    return {name: value[whole["row"].argsort()] for name, value in whole.items()}


def plain_logp(policy, drawn) -> torch.Tensor:
    ids = torch.cat([drawn["prompt_ids"], drawn["completion_ids"]], dim=1)
    mask = torch.cat([drawn["prompt_mask"], drawn["completion_mask"]], dim=1)
    length = drawn["completion_ids"].shape[1]
    table = policy(input_ids=ids, attention_mask=mask).logits[:, -length - 1 : -1].log_softmax(-1)
    logp = table.gather(-1, drawn["completion_ids"].unsqueeze(-1)).squeeze(-1)
    return torch.where(drawn["loss_mask"].bool(), logp, 0.0)


def whole_steps(policy, objective, drawn, epochs: int) -> None:
    """Plain gradient descent on the objective's loss over all completions at once."""
    shape, old = (len(drawn["row"]) // K, K, -1), drawn["logp_old"]
    for _ in range(epochs):
        batch = scored_completions(old.view(shape), drawn["score"].view(-1, K), drawn["loss_mask"].float().view(shape))
        loss, _ = objective.loss(plain_logp(policy, drawn).view(shape), batch)
        grads = torch.autograd.grad(loss, list(policy.parameters()), allow_unused=True)
        with torch.no_grad():
            for parameter, grad in zip(policy.parameters(), grads, strict=True):
                if grad is not None:
                    parameter -= LR * grad


@pytest.mark.parametrize("split", [(16, 1), (4, 4), (2, 8)], ids=["whole", "groups", "half groups"])
@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("name", ["tpo", "grpo_published", "gspo", "rebel", "ppo"])
def test_a_step_is_that_of_the_whole_loss(tmp_path, name, epochs, split):
    objective = helpers.objective(name)
    if objective.needs_reference:
        objective = dataclasses.replace(objective, beta=0.0)
    size, accumulation = split
    found = trainer(
        tmp_path,
        objective,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulation,
        num_iterations=epochs,
        max_steps=epochs,
    )
    found.train()
    policy = model()  # as it was before the step
    drawn = completions_of(found)
    assert 0 < drawn["score"].mean() < 1 and drawn["completion_mask"].sum(1).unique().numel() > 1
    assert_close(drawn["logp_old"], plain_logp(policy, drawn).detach(), atol=1e-5, rtol=0)
    before = [p.detach().clone() for p in policy.parameters()]
    whole_steps(policy, objective, drawn, epochs)
    moved = max((p - b).abs().max().item() for p, b in zip(policy.parameters(), before, strict=True))
    assert moved > 1e-3
    for ours, theirs in zip(policy.parameters(), found.model.parameters(), strict=True):
        assert_close(theirs, ours, atol=1e-5, rtol=1e-5)


def test_dr_grpo_divides_by_the_tokens_that_a_completion_may_have(tmp_path):
    found = trainer(tmp_path, helpers.objective("dr_grpo"), max_completion_length=512)
    found.train()
    policy, drawn = model(), completions_of(found)
    assert drawn["completion_ids"].shape[1] < 512
    whole_steps(policy, dataclasses.replace(helpers.objective("dr_grpo"), budget=512), drawn, 1)
    for ours, theirs, before in zip(policy.parameters(), found.model.parameters(), model().parameters(), strict=True):
        assert_close(theirs - before, ours - before, atol=1e-7, rtol=1e-3)


def test_what_a_tool_says_is_not_learnt(tmp_path):
    """The second and third of five tokens are a tool's: they are read, and have no loss."""

    def rollout(prompts, trainer):
        draws = torch.Generator().manual_seed(0)
        drawn = torch.randint(2, len(LETTERS), (len(prompts), 5), generator=draws).tolist()
        ids = [trainer.processing_class(prompt)["input_ids"] for prompt in prompts]
        masks = [[1, 0, 0, 1, 1] for _ in prompts]
        return {"prompt_ids": ids, "completion_ids": drawn, "logprobs": None, "env_mask": masks}

    found = trainer(tmp_path, helpers.objective("tpo"), rollout_func=rollout)
    found.train()
    policy, drawn = model(), completions_of(found)
    assert drawn["loss_mask"].unique(dim=0).tolist() == [[1, 0, 0, 1, 1]] and drawn["completion_mask"].all()
    whole_steps(policy, helpers.objective("tpo"), drawn, 1)
    for ours, theirs in zip(policy.parameters(), found.model.parameters(), strict=True):
        assert_close(theirs, ours, atol=1e-5, rtol=1e-5)


def test_a_completion_without_a_score_is_refused(tmp_path):
    with pytest.raises(ValueError, match="reward_funcs: all returned None for a completion"):
        trainer(tmp_path, helpers.objective("tpo"), lambda completions, **_: [None, *reward(completions[1:])]).train()


@pytest.mark.parametrize("stage", [0, 3], ids=["replicas", "ZeRO-3"])
def test_two_processes_take_the_step_of_one(tmp_path, stage):
    """Half a group in each micro-batch of each process, and completions that are padded to different lengths."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tests.trl_process"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    subprocess.run(
        [sys.executable, *launch, str(tmp_path), str(stage)],
        check=True,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=600,
    )
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name, value in ranks[0][1].items():
        assert stage or torch.equal(value, ranks[1][1][name]), name
    policy, objective, drawn = model(), helpers.objective("tpo"), [completions for completions, _ in ranks]
    order = torch.cat([part["row"] for part in drawn]).argsort()
    longest = max(part["completion_ids"].shape[1] for part in drawn)

    def together(tensors):
        """The rows of both processes, groups one after the other, (B,K,T)."""
        padded = [torch.nn.functional.pad(x, (0, longest - x.shape[1])) for x in tensors]
        return torch.cat(padded)[order].view(-1, K, longest)

    score = torch.cat([part["score"] for part in drawn])[order].view(-1, K)
    mask = together([part["completion_mask"].float() for part in drawn])
    batch = scored_completions(together([part["logp_old"] for part in drawn]), score, mask)
    loss, _ = objective.loss(together([plain_logp(policy, part) for part in drawn]), batch)
    loss.backward()
    assert 0 < score.mean() < 1
    for name, parameter in policy.named_parameters():
        step = 0 if parameter.grad is None else LR * parameter.grad
        assert_close(ranks[0][1][name], parameter.detach() - step, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"steps_per_generation": 4, "gradient_accumulation_steps": 2}, "steps_per_generation=4: must equal"),
        ({"epsilon": 0.3}, "epsilon=0.3: belongs to the loss of TRL"),
        ({"loss_type": "grpo"}, "loss_type=grpo: belongs to the loss of TRL"),
        ({"beta": 0.1}, "beta=0.1: must be 0"),
    ],
)
def test_what_would_be_ignored_is_refused(tmp_path, settings, text):
    with pytest.raises(ValueError, match=text):
        trainer(tmp_path, helpers.objective("tpo"), per_device_train_batch_size=8, **settings)


def test_an_objective_that_needs_a_reference_or_a_greedy_answer_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"beta=0.0: must be > 0"):
        trainer(tmp_path, helpers.objective("grpo_published"))
    with pytest.raises(ValueError, match="objective=remax: needs greedy"):
        trainer(tmp_path, helpers.objective("remax"))
