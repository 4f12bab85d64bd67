"""The reason why TRL cannot train an experiment, found before any work and without importing TRL."""

import importlib.util
import os

from engines.weights import require_group_objective
from training import distributed, warmstart

COMPUTED = ("float32", "bfloat16")  # precisions of TRL
INSTALL = 'pip install -c constraints.txt -e ".[trl]"'


def trl_misfit(experiment) -> str:
    """Why TRL cannot train an experiment, and the key to change; empty where it can."""
    env, train, optim, model = experiment.env, experiment.train, experiment.optim, experiment.model
    if not env.spec.is_text:
        return f"env={env.name} is no task for language models; use engine=suite"
    if importlib.util.find_spec("trl") is None:
        return f"needs trl, which is not installed: {INSTALL}"
    try:
        require_group_objective(experiment.objective)
    except ValueError as error:
        return f"{error}; use engine=suite"
    if optim.name != "adamw_clipped":
        return f"optim={optim.name} is not AdamW; use optim=adamw_clipped"
    if model.engine == "vllm" and not hasattr(model, "path") and not warmstart.target_accuracy(experiment):
        return "model.engine=vllm reads the model from a folder, and this one is made anew; use model.engine=hf"
    if model.dtype not in COMPUTED:
        return f"model.dtype={model.dtype} is not what TRL computes in; use {' or '.join(COMPUTED)}"
    if env.candidates < 2:
        return f"env.candidates={env.candidates} is no group, which TRL needs; use 2 or more, or engine=suite"
    if train.staleness:
        return f"train.staleness={train.staleness} is not what TRL does; use train.staleness=0"
    if train.diagnostics:
        return "train.diagnostics=true needs gradients that TRL does not give; use train.diagnostics=false"
    for sharding in ("FSDP", "DEEPSPEED"):
        if os.environ.get(f"ACCELERATE_USE_{sharding}", "false").lower() == "true":
            return f"does not shard the model ({sharding}); use engines.trl.GroupObjectiveTrainer in a script of TRL"
    processes = distributed.started_processes()
    completions = env.batch * env.candidates
    if completions % processes:
        return f"{processes} processes cannot share {completions} completions equally; change env.batch"
    if train.micro_batch and completions // processes % train.micro_batch:
        return (
            f"train.micro_batch={train.micro_batch} does not divide the {completions // processes} completions of a "
            f"process; use a divisor"
        )
    return ""
