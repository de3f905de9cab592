"""The training and validation steps: one LightningModule for every optimizer."""

from typing import Literal

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy

from mnist_lightning.evaluation import names
from mnist_lightning.models.digitnet import bfloat16_is_faster
from mnist_lightning.training.schedule import OptimizerFactory, Schedule

NUM_CLASSES = 10


class DigitClassifier(L.LightningModule):
    """Trains a network of (B, 1, 28, 28) -> (B, 10) logits by cross-entropy.

    Args:
        network: the network; it is converted to channels_last, in which convolutions are faster.
        optimizer: makes the optimizer from the network's parameters.
        schedule: the learning rate over the training.
        label_smoothing: fraction of each label that is spread over the ten digits, in [0, 1).
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
        self.accuracy = MulticlassAccuracy(NUM_CLASSES, average="micro")
        self.losses: list[torch.Tensor] = []  # of the epoch's steps so far
        self.gradient_norms: list[torch.Tensor] = []

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        """The loss of one step."""
        images, labels = batch
        loss = F.cross_entropy(self.network(images).float(), labels, label_smoothing=self.label_smoothing)
        self.losses.append(loss.detach())
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Note the norm of the gradient."""
        gradients = [weights.grad for weights in self.network.parameters() if weights.grad is not None]
        self.gradient_norms.append(nn.utils.get_total_norm(gradients))

    def on_train_batch_end(self, *_: object) -> None:
        """After an epoch's last step, log the means over its steps; to log each step would cost a twentieth of it."""
        if self.trainer.is_last_batch:
            for name, values in ((names.TRAIN_LOSS, self.losses), (names.GRADIENT_NORM, self.gradient_norms)):
                self.log(name, torch.stack(values).mean(), on_step=False, on_epoch=True, sync_dist=True)
                values.clear()

    def on_train_epoch_end(self) -> None:
        """Log the learning rate."""
        self.log(names.LEARNING_RATE, self.trainer.optimizers[0].param_groups[0]["lr"], sync_dist=True)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        """Log loss and accuracy."""
        images, labels = batch
        logits = self.network(images).float()
        self.accuracy(logits, labels)
        self.log(names.VALIDATION_LOSS, F.cross_entropy(logits, labels), batch_size=len(labels), sync_dist=True)
        self.log(names.VALIDATION_ACCURACY, self.accuracy, batch_size=len(labels))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer, with a learning rate that is updated at every step."""
        optimizer = self.optimizer(self.network.parameters())
        steps = self.trainer.estimated_stepping_batches
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.schedule.factor(step / steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def precision() -> Literal["bf16-mixed", "32-true"]:
    """The fastest of Lightning's precisions on this machine."""
    return "bf16-mixed" if bfloat16_is_faster("cuda" if torch.cuda.is_available() else "cpu") else "32-true"
