"""What TRL's GRPOTrainer takes for the same steps (https://github.com/huggingface/trl)."""

import tempfile
import time
from typing import Any

from benchmarks.sequences import DEVICE, Clock, synchronize
from training.noise import Noise

PROBLEMS = 256


def parity(text: str) -> float:
    """A reward that any completion may earn."""
    return sum(map(ord, text)) % 2


def measure(env: Any, model: Any, steps: int) -> dict[str, float]:
    """Seconds per step, in all and of the rollout with its rewards, and tokens per step, after one step to warm up."""
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    policy = model.build(env.spec, Noise((0,), DEVICE))
    lengths, marks = [], []

    def reward(completions: list[str], completion_ids: list[list[int]], **_) -> list[float]:
        lengths.append(sum(map(len, completion_ids)))
        return [parity(text) for text in completions]

    class Stopwatch(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            synchronize()
            marks.append((time.perf_counter(), clock.seconds))

    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder,
            max_steps=steps + 1,
            per_device_train_batch_size=env.batch * env.candidates,
            num_generations=env.candidates,
            max_completion_length=env.max_new_tokens,
            learning_rate=1e-5,
            bf16=False,
            gradient_checkpointing=model.gradient_checkpointing,
            use_cpu=DEVICE.type == "cpu",
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        prompts = [env.problems("train")[i].prompt for i in range(PROBLEMS)]
        trainer = GRPOTrainer(
            model=policy.model,
            reward_funcs=reward,
            args=settings,
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            processing_class=policy.tokenizer,
            callbacks=[Stopwatch()],
        )
        trainer.remove_callback(PrinterCallback)
        clock = Clock(trainer, "_generate_and_score_completions")
        trainer.train()
    (start, before), (end, after) = marks[0], marks[-1]
    return {"all": (end - start) / steps, "rollout": (after - before) / steps, "tokens": sum(lengths[1:]) / steps}
