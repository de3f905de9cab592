"""The MNIST example of pytorch/examples, reimplemented: its network, its optimizer and its data pipeline.

Once with the example's own training loop, and once with Lightning's Trainer as in Lightning's first tutorial.
"""

import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.learning_curve import LearningCurve, TrainingClock, make_trainer
from mnist_lightning.evaluation.names import VALIDATION_ACCURACY
from mnist_lightning.training.config import Recipe

TRAIN_BATCH, TEST_BATCH = 64, 1000
MEAN, STD = (0.1307,), (0.3081,)


class ExampleNet(nn.Module):
    """Two convolutions, a pool, two dropouts and two linear layers, (B, 1, 28, 28) -> (B, 10) log-probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, 1), nn.Conv2d(32, 64, 3, 1)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = self.dropout1(torch.flatten(F.max_pool2d(x, 2), 1))
        return F.log_softmax(self.fc2(self.dropout2(F.relu(self.fc1(x)))), dim=1)


class ExampleModule(L.LightningModule):
    """The example as a LightningModule."""

    def __init__(self) -> None:
        super().__init__()
        self.network = ExampleNet()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        loss = F.nll_loss(self.network(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        correct = (self.network(batch[0]).argmax(1) == batch[1]).float().mean()
        self.log(VALIDATION_ACCURACY, correct, batch_size=len(batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer, schedule = make_optimizer(self)
        return [optimizer], [schedule]


def train_with_loop(recipe: Recipe, epochs: int) -> LearningCurve:
    """Train the example in its own loop; the recipe provides the seed and MNIST's folder."""
    torch.manual_seed(recipe.seed)
    network = ExampleNet()
    optimizer, schedule = make_optimizer(network)
    train_loader, test_loader = make_loaders(recipe.data_dir)
    curve, seconds = LearningCurve(), 0.0
    for _ in range(epochs):
        started = time.perf_counter()
        for images, labels in train_loader:
            optimizer.zero_grad()
            F.nll_loss(network(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
        seconds += time.perf_counter() - started
        curve.append(seconds, measure_accuracy(network, test_loader))
    return curve


def train_with_lightning(recipe: Recipe, epochs: int) -> LearningCurve:
    """Train the example under Lightning's Trainer with its defaults."""
    torch.manual_seed(recipe.seed)
    clock = TrainingClock()
    train_loader, test_loader = make_loaders(recipe.data_dir)
    make_trainer(epochs, [clock]).fit(ExampleModule(), train_dataloaders=train_loader, val_dataloaders=test_loader)
    return clock.curve


def make_optimizer(network: nn.Module) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.StepLR]:
    """Adadelta, and a learning rate that decays after every epoch."""
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)


def make_loaders(raw_folder: Path) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Loaders of the training and the test set, with torchvision's transforms of single images."""
    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    train, test = (datasets.MNIST(raw_folder.parent.parent, train=flag, transform=steps) for flag in (True, False))
    return DataLoader(train, batch_size=TRAIN_BATCH, shuffle=True), DataLoader(test, batch_size=TEST_BATCH)


@torch.no_grad()
def measure_accuracy(network: nn.Module, loader: DataLoader[Any]) -> float:
    """Accuracy on the test set, in [0, 1]."""
    network.eval()
    correct = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in loader)
    network.train()
    return correct / len(loader.dataset)  # type: ignore[arg-type]
