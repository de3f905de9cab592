"""The standard example of the field: the network, optimizer and data pipeline of pytorch/examples (mnist).

Written anew here, once with its own loop and once as Lightning's first tutorial would write it; and the clock by
which any training is compared with it.
"""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from mnist_lightning.training.config import Recipe
from mnist_lightning.training.module import VALIDATION_ACCURACY

GOALS = (0.99, 0.995)


@dataclass
class Progress:
    """Test accuracy over seconds of training."""

    seconds: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)

    def note(self, seconds: float, accuracy: float) -> None:
        """The state after an epoch."""
        self.seconds.append(seconds)
        self.accuracy.append(accuracy)
        print(f"  {seconds:6.1f} s  {100 * accuracy:.2f} %", file=sys.stderr, flush=True)

    def to(self, goal: float) -> float | None:
        """Seconds until a test accuracy was first reached, by epochs."""
        return next((s for s, a in zip(self.seconds, self.accuracy, strict=True) if a >= goal), None)

    def figures(self) -> dict[str, float | None]:
        """What the table shows."""
        return {
            "epochs": len(self.seconds),
            "seconds_an_epoch": self.seconds[-1] / len(self.seconds),
            **{f"seconds_to_{100 * goal:g}": self.to(goal) for goal in GOALS},
            "seconds": self.seconds[-1],
            "final_accuracy": 100 * self.accuracy[-1],
        }


class Clock(L.Callback):
    """Counts the seconds of training, without those of validation, and notes the accuracy that validation found."""

    def __init__(self) -> None:
        self.progress, self.spent = Progress(), 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.spent += time.perf_counter() - self.started

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.progress.note(self.spent, trainer.callback_metrics[VALIDATION_ACCURACY].item())


class StandardNet(nn.Module):
    """The network of pytorch/examples: two convolutions, a pool, two dropouts, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, 1), nn.Conv2d(32, 64, 3, 1)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = self.dropout1(torch.flatten(F.max_pool2d(x, 2), 1))
        return F.log_softmax(self.fc2(self.dropout2(F.relu(self.fc1(x)))), dim=1)


class PlainLightning(L.LightningModule):
    """The standard example as Lightning's first tutorial would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = StandardNet()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        loss = F.nll_loss(self.network(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        right = (self.network(batch[0]).argmax(1) == batch[1]).float().mean()
        self.log(VALIDATION_ACCURACY, right, batch_size=len(batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adadelta(self.parameters(), lr=1.0)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)]


def standard_loader(data: Path, batch: int, *, train: bool) -> DataLoader[Any]:
    """torchvision's data set and transforms, as the example has them."""
    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    images = datasets.MNIST(data.parent.parent, train=train, transform=steps)
    return DataLoader(images, batch_size=batch, shuffle=train)


@torch.no_grad()
def standard_accuracy(network: nn.Module, loader: DataLoader[Any]) -> float:
    """On the test set, as the example measures it."""
    network.eval()
    right = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in loader)
    network.train()
    return right / len(loader.dataset)  # type: ignore[arg-type]


def standard(recipe: Recipe, epochs: int) -> Progress:
    """The example's own loop."""
    torch.manual_seed(recipe.seed)
    network = StandardNet()
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    training, test = (standard_loader(recipe.data_dir, size, train=size == 64) for size in (64, 1000))
    progress, spent = Progress(), 0.0
    for _ in range(epochs):
        started = time.perf_counter()
        for images, labels in training:
            optimizer.zero_grad()
            F.nll_loss(network(images), labels).backward()
            optimizer.step()
        schedule.step()
        spent += time.perf_counter() - started
        progress.note(spent, standard_accuracy(network, test))
    return progress


def plain_lightning(recipe: Recipe, epochs: int) -> Progress:
    """The example under Lightning's Trainer, all else as it comes."""
    torch.manual_seed(recipe.seed)
    clock = Clock()
    loaders = [standard_loader(recipe.data_dir, size, train=size == 64) for size in (64, 1000)]
    trainer(epochs, [clock]).fit(PlainLightning(), train_dataloaders=loaders[0], val_dataloaders=loaders[1])
    return clock.progress


def trainer(epochs: int, callbacks: list[L.Callback], **settings: Any) -> L.Trainer:
    """A Trainer on the CPU that only trains and validates."""
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
