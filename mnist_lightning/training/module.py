"""How the network learns: one LightningModule, whatever the optimizer."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy

from mnist_lightning.models.digitnet import bfloat16_is_faster

DIGITS = 10
VALIDATION_ACCURACY = "validation_accuracy"  # by which runs are compared
VALIDATION_LOSS = "validation_loss"  # by which a run's epochs are: 5,000 images tell these apart where accuracies tie

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass
class Schedule:
    """How the learning rate goes over a training: up to the optimizer's `lr`, then down to nearly nothing."""

    warmup: float = 0.2
    """Part of all steps in which the rate climbs in a straight line, in [0, 1)."""
    decay: Literal["linear", "cosine"] = "linear"
    """The way down from there."""

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is {self.warmup}; it must be at least 0 and less than 1")

    def factor(self, progress: float) -> float:
        """The part of the peak rate at `progress`, itself in [0, 1]; never quite zero."""
        if progress < self.warmup:
            return max(progress / self.warmup, 1e-3)
        left = (1 - progress) / (1 - self.warmup)
        return max(left if self.decay == "linear" else (1 - math.cos(math.pi * left)) / 2, 1e-3)


class DigitClassifier(L.LightningModule):
    """A network of (B, 1, 28, 28) -> (B, 10) logits, trained by cross-entropy.

    Args:
        network: the network itself; moved to channels_last, which its convolutions are faster in.
        optimizer: makes the optimizer from the network's parameters.
        schedule: the learning rate over the training.
        label_smoothing: part of each label spread over the ten digits, in [0, 1).
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerFactory,
        schedule: Schedule,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.optimizer, self.schedule, self.label_smoothing = optimizer, schedule, label_smoothing
        self.accuracy = MulticlassAccuracy(DIGITS, average="micro")

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        """One step's loss."""
        images, labels = batch
        loss = F.cross_entropy(self.network(images).float(), labels, label_smoothing=self.label_smoothing)
        self.log("train_loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """The length of the gradient, before anything is done with it."""
        gradients = [weights.grad for weights in self.network.parameters() if weights.grad is not None]
        self.log("gradient_norm", nn.utils.get_total_norm(gradients), on_step=False, on_epoch=True, sync_dist=True)

    def on_train_epoch_end(self) -> None:
        """Record where the schedule is."""
        self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"], sync_dist=True)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        """Loss and accuracy on the validation images."""
        images, labels = batch
        logits = self.network(images).float()
        self.accuracy(logits, labels)
        self.log(VALIDATION_LOSS, F.cross_entropy(logits, labels), batch_size=len(labels), sync_dist=True)
        self.log(VALIDATION_ACCURACY, self.accuracy, batch_size=len(labels))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer with a learning rate that changes at every step."""
        optimizer = self.optimizer(self.network.parameters())
        steps = self.trainer.estimated_stepping_batches
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.schedule.factor(step / steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def precision() -> Literal["bf16-mixed", "32-true"]:
    """Lightning's name of the numbers to train with on this machine."""
    return "bf16-mixed" if bfloat16_is_faster("cuda" if torch.cuda.is_available() else "cpu") else "32-true"
