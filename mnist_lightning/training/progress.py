"""The progress of a training on stderr: a progress bar on a terminal, a line per epoch elsewhere."""

import sys
import time
from typing import Any

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from mnist_lightning.evaluation import names


class _StepRate(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:5.1f} steps/s")


class TrainingProgress(L.Callback):
    """Shows epoch, step rate, loss, a validation metric and remaining time of a training.

    Args:
        name: what is trained.
        metric: name of the metric, a fraction.
    """

    def __init__(self, name: str, metric: str = names.VALIDATION_ACCURACY) -> None:
        self.name, self.metric = name, metric
        self.bar: Progress | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the bar if stderr is a terminal."""
        self.started, self.first_step = time.perf_counter(), trainer.global_step  # not 0 in a resumed training
        if not sys.stderr.isatty():
            return
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),  # leaves room for the figures on a terminal of 80 columns
            _StepRate(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self.bar.start()
        self.task = self.bar.add_task(self._epoch(trainer), total=trainer.estimated_stepping_batches, figures="")

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Advance the bar by a step."""
        if self.bar is not None:
            self.bar.update(self.task, completed=trainer.global_step, description=self._epoch(trainer))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show loss and metric of the epoch."""
        metrics = trainer.callback_metrics
        figures = f"loss {metrics[names.TRAIN_LOSS]:.4f}  validation {100 * metrics[self.metric]:.2f} %"
        if self.bar is not None:
            self.bar.update(self.task, figures=figures)
        else:
            seconds = time.perf_counter() - self.started
            rate = (trainer.global_step - self.first_step) / seconds
            left = (trainer.estimated_stepping_batches - trainer.global_step) / rate
            line = f"{self._epoch(trainer)}  {rate:5.1f} steps/s  {figures}  {left:.0f} s left"
            print(line, file=sys.stderr, flush=True)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Stop the bar, also after an interruption."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _epoch(self, trainer: L.Trainer) -> str:
        return f"{self.name:8} epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
