"""The split, the batches, and what is done to them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mnist_lightning.datasets.datamodule import MnistDataModule


@pytest.fixture(scope="module")
def data(mnist_folder: Path) -> MnistDataModule:
    module = MnistDataModule(mnist_folder)
    module.setup()
    return module


def test_the_split_is_stratified_and_complete(data: MnistDataModule) -> None:
    counts = torch.bincount(data.training[1]), torch.bincount(data.validation[1])
    assert (int(counts[0].sum()), int(counts[1].sum())) == (55_000, 5_000)
    shares = counts[1] / (counts[0] + counts[1])
    assert (shares - 1 / 12).abs().max() < 1e-3
    both = torch.cat([data.training[0], data.validation[0]]).flatten(1).sum(1, dtype=torch.int64)
    assert int(both.sum()) == 1_567_298_545  # every pixel of the 60,000 once


def test_the_split_is_the_same_for_every_seed(data: MnistDataModule, mnist_folder: Path) -> None:
    other = MnistDataModule(mnist_folder, seed=7)
    other.setup()
    assert torch.equal(other.validation[0], data.validation[0])


def test_batches_come_shuffled_by_the_seed(data: MnistDataModule, mnist_folder: Path) -> None:
    def first_labels(seed: int) -> list[int]:
        module = MnistDataModule(mnist_folder, seed=seed)
        module.training = data.training
        images, labels = next(iter(module.train_dataloader()))
        assert images.shape == (256, 1, 28, 28)
        return labels.tolist()

    assert first_labels(1) == first_labels(1) != first_labels(2)


def test_only_training_is_augmented(data: MnistDataModule) -> None:
    images, labels = data.validation[0][:64], data.validation[1][:64]
    plain, _ = data.on_after_batch_transfer((images, labels), 0)
    assert torch.equal(plain * 255, images.float())

    class Training:
        training, current_epoch, max_epochs = True, 0, 3

    data.trainer = Training()  # type: ignore[assignment]
    changed, same = data.on_after_batch_transfer((images, labels), 0)
    data.trainer = None
    assert not torch.equal(changed, plain)
    assert torch.equal(same, labels)


def test_the_last_epochs_are_calm(mnist_folder: Path) -> None:
    used = []
    data = MnistDataModule(mnist_folder, calm=0.5)
    data.augment = lambda images, labels: used.append("augmented") or images  # type: ignore[assignment, func-returns-value]
    data.calmly = lambda images, labels: used.append("calm") or images  # type: ignore[assignment, func-returns-value]
    for epoch in range(4):
        data.trainer = SimpleNamespace(training=True, current_epoch=epoch, max_epochs=4)  # type: ignore[assignment]
        data.on_after_batch_transfer((torch.zeros(1, 1, 28, 28), torch.zeros(1)), 0)
    assert used == ["augmented", "augmented", "calm", "calm"]


def test_a_limit_keeps_that_many(mnist_folder: Path) -> None:
    module = MnistDataModule(mnist_folder, limit=100)
    module.setup()
    assert len(module.training[1]) == 100
    assert len(module.validation[1]) == 5_000
    assert len(next(iter(module.train_dataloader()))[1]) == 100
