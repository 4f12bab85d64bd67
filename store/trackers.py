"""Trackers: they copy the metrics of a run to other services while it trains. The store alone is read again."""

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from store.failure import first_line
from store.tracked import Tracked, curves, final_values, scalars

log = logging.getLogger(__name__)
Logger = Callable[[Any], None]  # called with the training history after every step
INIT_SECONDS = 20  # for which a run waits for Weights & Biases


@dataclass(frozen=True)
class NoTracker:
    """Logs nothing."""

    name = "none"

    @contextmanager
    def open(self, run: Tracked) -> Iterator[Logger]:
        yield lambda history: None


@dataclass(frozen=True)
class Wandb:
    """Weights & Biases. WANDB_MODE=offline writes to the run's folder; `wandb sync` uploads it later.

    A run of this suite is a run there, with its configuration, and goes on there when it is resumed. At the end it gets
    the curves of all seeds and a table of their final metrics.

    group  runs of one group are drawn together; null: the sweep file that the run belongs to, or its task
    tags   in addition to task, method and sweep file
    """

    name = "wandb"

    project: str = "tpo"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()

    @contextmanager
    def open(self, run: Tracked) -> Iterator[Logger]:
        import wandb

        opened = wandb.init(
            project=self.project,
            entity=self.entity,
            group=self.group or run.sweep or run.env,
            tags=[*self.tags, *filter(None, (run.env, run.algo, run.sweep))],
            name=run.title,
            id=run.id,
            resume="allow",
            config=run.config,
            dir=run.folder,
            settings=wandb.Settings(init_timeout=INIT_SECONDS),
        )
        shown = max(run.step or -1, opened.step - 1 if opened.resumed else -1)
        newest = None

        def log_metrics(history) -> None:
            nonlocal shown, newest
            newest = history
            for step, values in scalars(history, shown):
                opened.log(values, step=step)
                shown = step

        exit_code = 1
        try:
            yield log_metrics
            if newest is not None:
                steps, seeds = curves(newest)
                keys = [f"seed {seed}" for seed in run.seeds]
                opened.log({"curves": wandb.plot.line_series(steps, seeds, keys, "error of each seed", "step")})
                names, rows = final_values(newest, run.seeds)
                opened.log({"final": wandb.Table(columns=names, data=rows)})
            exit_code = 0
        finally:
            opened.finish(exit_code=exit_code)


@dataclass(frozen=True)
class TensorBoard:
    """TensorBoard: event files in runs/<env>/<algo>/<run>/tensorboard, for `tensorboard --logdir runs`."""

    name = "tensorboard"

    @contextmanager
    def open(self, run: Tracked) -> Iterator[Logger]:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        writer, shown = EventFileWriter(str(run.folder / "tensorboard" / run.id)), run.step or -1
        if run.step:  # events after the checkpoint that a run goes on from are dropped
            writer.add_event(Event(step=run.step + 1, session_log=SessionLog(status=SessionLog.START)))

        def log_metrics(history) -> None:
            nonlocal shown
            for step, values in scalars(history, shown):
                summary = Summary(value=[Summary.Value(tag=tag, simple_value=x) for tag, x in values.items()])
                writer.add_event(Event(step=step, wall_time=time.time(), summary=summary))
                shown = step

        try:
            yield log_metrics
        finally:
            writer.close()


@contextmanager
def tracking(tracker: Any, run: Tracked) -> Iterator[Logger]:
    """The logger of a tracker. One that fails says so once, and the run goes on without it."""
    context = tracker.open(run)
    logger = _attempt(tracker, context.__enter__)

    def log_metrics(history) -> None:
        nonlocal logger
        if logger is not None and not _attempt(tracker, lambda: (logger(history), True)[1]):
            logger = None

    try:
        yield log_metrics
    except BaseException as error:
        if logger is not None:
            _attempt(tracker, functools.partial(context.__exit__, type(error), error, error.__traceback__))
        raise
    if logger is not None:
        _attempt(tracker, lambda: context.__exit__(None, None, None))


def _attempt(tracker: Any, act: Callable[[], Any]) -> Any:
    """The result of `act`; None after a warning where it fails."""
    try:
        return act()
    except Exception as error:  # whatever the service raises: no network, a full disk, a bad key
        text = "tracker=%s failed (%s); the run goes on without it, and its store is complete"
        log.warning(text, tracker.name, first_line(error))
        return None


TRACKERS = {tracker.name: tracker for tracker in (NoTracker, Wandb, TensorBoard)}
