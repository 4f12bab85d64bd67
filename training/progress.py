"""Progress of a run, shown as a bar in a terminal and as plain lines elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from training.loop import Trainer

BAR_SECONDS = 0.1
FIRST_LINE, LAST_LINE, LINE_SHARE = 5.0, 60.0, 0.1  # seconds between two lines: a tenth of the time so far
SHOWN = 120  # characters of a message


TEXT_METRICS = {  # how metrics of language models are shown
    "reward": "reward {:.3f}",
    "solved": "{:.1%} solved",
    "zero_variance_share": "{:.0%} of groups all alike",
    "length": "{:.1f} tokens each",
    "entropy": "{:.2f} nats per token",
    "rollout_tokens_per_second": "{:.0f} tokens/s rollout",
    "update_tokens_per_second": "{:.0f} tokens/s update",
}


def progress_text(trainer: Trainer) -> str:
    """The newest error, mean and standard error over the finite seeds; for a language model, other metrics."""
    values = trainer.history.values
    if trainer.env.spec.is_text:
        found = [text.format(values[name][-1].item()) for name, text in TEXT_METRICS.items()]
        return ", ".join([*found, *held_out(trainer), *ungraded(trainer)])
    errors = values["error"][-1]
    errors = errors[errors.isfinite()].double()
    if not len(errors):
        return "error: no finite seed"
    sem = f" ± {errors.std().item() / len(errors) ** 0.5:.2g}" if len(errors) > 1 else ""
    return f"error {errors.mean().item():.4g}{sem} ({len(errors)} seed{'s' * (len(errors) > 1)})"


def held_out(trainer: Trainer) -> list[str]:
    """pass@1 of the last evaluation and, where several answers were sampled, pass@k for the largest k."""
    split = trainer.cfg.eval_split
    found = [name for name in trainer.history.values if name.startswith(f"{split}_pass_at_")]
    values = {int(name.rpartition("_")[2]): trainer.history.values[name][-1].item() for name in found}
    shown = [f"pass@{k} {values[k]:.1%}" for k in sorted({min(values), max(values)})] if values else []
    return [f"{split} {' '.join(shown)}"] if shown else []


def ungraded(trainer: Trainer) -> list[str]:
    """How many completions have had no verdict so far, and why the first had none; empty where all had one."""
    found = [v for name, v in trainer.history.values.items() if name.startswith("verifier_") or "_ungraded" in name]
    count = sum(value.nansum().item() for values in found for value in values)
    first = trainer.env.verifier.record.first_failure[:SHOWN]
    return [f"{count:.0f} not graded{f' ({first})' if first else ''}"] if count else []


def time_left(trainer: Trainer, rate: float) -> str:
    """The time that the remaining steps take at `rate` per second, and the evaluations left with their length."""
    cfg, seconds = trainer.cfg, trainer.evaluation_seconds
    text = f"{(cfg.steps - trainer.step) / rate:.0f} s left"
    count = sum(map(cfg.evaluates_at, range(trainer.step + 1, cfg.steps + 1))) if seconds is not None else 0
    return f"{text} and {count} evaluation{'s' * (count > 1)} of {seconds:.0f} s" if count else text


class Reporter:
    """Shows the progress when it is called after a step, but only as often as a reader can follow."""

    def __init__(self, title: str, console: Console):
        self.title, self.console = title, console
        self.start = self.shown = time.monotonic()
        self.first_step: int | None = None
        self.bar: Progress | None = None

    def __enter__(self) -> "Reporter":
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[now]}", markup=False),
            )
            self.bar = Progress(*columns, console=self.console, auto_refresh=False)
            self.bar.add_task(self.title, total=None, now="")
            self.bar.start()
        return self

    def __exit__(self, *exc) -> None:
        if self.bar:
            self.bar.stop()

    def __call__(self, trainer: Trainer) -> None:
        if self.first_step is None:
            self.first_step = trainer.step - 1
        now, last = time.monotonic(), trainer.step == trainer.cfg.steps
        line_seconds = min(max(FIRST_LINE, LINE_SHARE * (now - self.start)), LAST_LINE)
        if not last and now - self.shown < (BAR_SECONDS if self.bar else line_seconds):
            return
        self.shown = now
        training = max(now - self.start - trainer.evaluating, 1e-9)
        rate = (trainer.step - self.first_step) / training
        speed = f"{rate:.0f} steps/s" if rate >= 1 else f"{1 / rate:.1f} s/step"
        text = f"{progress_text(trainer)}, {speed}, {time_left(trainer, rate)}"
        if self.bar:
            self.bar.update(
                self.bar.task_ids[0], completed=trainer.step, total=trainer.cfg.steps, now=text, refresh=True
            )
        else:
            self.console.print(f"{self.title}: step {trainer.step}/{trainer.cfg.steps}, {text}", soft_wrap=True)
