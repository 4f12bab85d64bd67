"""python -m benchmarks.trl [model=smollm2]: seconds per step and memory of this trainer and of TRL's GRPOTrainer.

Both get the same model, puzzles, completions per puzzle and length, GRPO with one epoch and AdamW, in float32 on a CPU.
Each side runs in a process of its own, with OMP_NUM_THREADS threads. Rewards are the parity of a completion's
characters. TRL 1.16 (https://github.com/huggingface/trl) is in the environment of make .venv-engines/installed.
"""

import argparse
import importlib.util
import sys
import tempfile
import time
from typing import Any

from rich.console import Console

from benchmarks import rlvr
from benchmarks.rlvr import Case, Parity, measure_alone, table_of
from benchmarks.sequences import DEVICE, Clock, synchronize
from conf.entry import run_main
from conf.messages import ConfigError
from models.hf import LanguageModelConfig
from training.noise import Noise

PUZZLES = 256
COLUMNS = ("tokens", "trainer", "s / step", "CPU s / step", "drawn per step", "GiB", "CPU s of TRL / ours")


def measure_trl(env: Parity, model: LanguageModelConfig, steps: int) -> dict[str, float]:
    """The measurements of `benchmarks.rlvr.measure` for TRL."""
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    policy = model.build(env.spec, Noise((0,), DEVICE))
    lengths, marks = [], []

    def reward(completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        lengths.append(sum(map(len, completion_ids)))
        return [rlvr.parity(text) for text in completions]

    class Stopwatch(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            synchronize()
            marks.append((time.perf_counter(), time.process_time(), rollout.seconds))

    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder,
            max_steps=steps + 1,
            per_device_train_batch_size=env.batch * env.candidates,
            num_generations=env.candidates,
            max_completion_length=env.max_new_tokens,
            learning_rate=1e-5,
            loss_type="grpo",
            bf16=False,
            gradient_checkpointing=model.gradient_checkpointing,
            use_cpu=DEVICE.type == "cpu",
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        prompts = [env.problems("train")[i].prompt for i in range(PUZZLES)]
        trainer = GRPOTrainer(
            model=policy.model,
            reward_funcs=reward,
            args=settings,
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            processing_class=policy.tokenizer,
            callbacks=[Stopwatch()],
        )
        trainer.remove_callback(PrinterCallback)
        rollout = Clock(trainer, "_generate_and_score_completions")
        trainer.train()
    spent = [(end - start) / steps for start, end in zip(marks[0], marks[-1], strict=True)]
    return dict(zip(("all", "processor", "rollout"), spent, strict=True)) | {"tokens": sum(lengths[1:]) / steps}


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.trl", description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", help="settings (default: model=smollm2)")
    parser.add_argument("--steps", type=int, default=3, help="timed steps (default: 3)")
    parser.add_argument("--prompts", type=int, default=4, help="puzzles per step (default: 4)")
    parser.add_argument("--candidates", type=int, default=8, help="completions per puzzle (default: 8)")
    parser.add_argument("--tokens", type=int, nargs="+", default=[8, 64], help="the most of a completion (8 64)")
    args = parser.parse_args()
    if min(args.steps, args.prompts, *args.tokens) < 1 or args.candidates < 2:
        parser.error("--steps, --prompts and --tokens must be >= 1, --candidates >= 2")
    if importlib.util.find_spec("trl") is None:
        parser.error("needs TRL: make .venv-engines/installed, then .venv-engines/bin/python -m benchmarks.trl")
    size = f"{args.steps} steps of {args.prompts} puzzles x {args.candidates} completions"
    console, table = Console(width=120), table_of(size, COLUMNS)
    for tokens in args.tokens:
        try:
            env, model = rlvr.read(args.overrides or ["model=smollm2"], args.prompts, args.candidates, tokens)
        except ConfigError as error:
            parser.error(str(error))
        ours = measure_alone(rlvr.measure, Case("", env, model), args.steps)
        console.print(f"{tokens} tokens, this trainer: {ours['all']:.2f} s per step", highlight=False)
        theirs = measure_alone(measure_trl, env, model, args.steps)
        console.print(f"{tokens} tokens, TRL: {theirs['all']:.2f} s per step", highlight=False)
        ratio = f"{theirs['processor'] / ours['processor']:.2f}"
        for name, times, last in (("this one", ours, ratio), ("TRL", theirs, "")):
            seconds = [f"{times[key]:.2f}" for key in ("all", "processor")]
            table.add_row(str(tokens), name, *seconds, f"{times['tokens']:.0f}", f"{times['memory'] / 2**30:.2f}", last)
    console.print(table)


if __name__ == "__main__":
    sys.exit(run_main(main))
