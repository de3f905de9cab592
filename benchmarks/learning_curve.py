"""Test accuracy over training time, for any training under Lightning's Trainer."""

import sys
import time
from dataclasses import dataclass, field
from typing import Any

import lightning as L

from mnist_lightning.evaluation.names import VALIDATION_ACCURACY
from mnist_lightning.training.arguments import find_recipe
from mnist_lightning.training.config import Recipe

TARGETS = (0.99, 0.995)  # accuracies


@dataclass
class LearningCurve:
    """Accuracy over seconds of training, by epoch."""

    seconds: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)

    def append(self, seconds: float, accuracy: float) -> None:
        """Add an epoch and print it to stderr."""
        self.seconds.append(seconds)
        self.accuracy.append(accuracy)
        print(f"  {seconds:6.1f} s  {100 * accuracy:.2f} %", file=sys.stderr, flush=True)

    def seconds_to(self, target: float) -> float | None:
        """Seconds until the end of the first epoch that reaches an accuracy; None if none does."""
        return next((s for s, a in zip(self.seconds, self.accuracy, strict=True) if a >= target), None)

    def summary(self) -> dict[str, float | None]:
        """The figures of the table and of the JSON report."""
        return {
            "epochs": len(self.seconds),
            "seconds_per_epoch": self.seconds[-1] / len(self.seconds),
            **{f"seconds_to_{100 * target:g}": self.seconds_to(target) for target in TARGETS},
            "seconds": self.seconds[-1],
            "final_accuracy": 100 * self.accuracy[-1],
        }


class TrainingClock(L.Callback):
    """Measures training time without validation, and records the validation accuracy after each epoch."""

    def __init__(self) -> None:
        self.curve, self.seconds = LearningCurve(), 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock."""
        self.seconds += time.perf_counter() - self.started

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Record the epoch."""
        self.curve.append(self.seconds, trainer.callback_metrics[VALIDATION_ACCURACY].item())


def make_trainer(epochs: int, callbacks: list[L.Callback], **settings: Any) -> L.Trainer:
    """A Trainer on the CPU without logging, checkpoints and progress bar."""
    return L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **settings,
    )


def load_recipe(name: str) -> Recipe:
    """The recipe of a file, or one that ships with the project. Raises RecipeError."""
    return Recipe.from_yaml(find_recipe(name).read_text())
