"""The batches of a training, and the augmentation of its epochs."""

from types import SimpleNamespace

import pytest
import torch

from mnist_lightning.datasets.datamodule import MnistDataModule, ShuffledBatchSampler
from mnist_lightning.datasets.splits import MnistSplits


@pytest.fixture(scope="module")
def splits() -> MnistSplits:
    """1,000 random images in each set; their labels are their indices."""
    images = torch.randint(0, 256, (1000, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return MnistSplits(*[(images, torch.arange(1000))] * 3)


def first_labels(splits: MnistSplits, seed: int) -> list[int]:
    images, labels = next(iter(MnistDataModule(splits, seed=seed).train_dataloader()))
    assert images.shape == (256, 1, 28, 28)
    return [int(label) for label in labels]


def test_the_seed_determines_the_order_of_the_batches(splits: MnistSplits) -> None:
    assert first_labels(splits, 1) == first_labels(splits, 1) != first_labels(splits, 2)


def test_data_modules_share_the_images(splits: MnistSplits) -> None:
    modules = [MnistDataModule(splits, seed=seed) for seed in range(2)]
    assert modules[0].splits.training[0] is modules[1].splits.training[0]


def test_a_batch_is_at_most_as_large_as_the_training_set(splits: MnistSplits) -> None:
    assert len(next(iter(MnistDataModule(splits, batch_size=5000).train_dataloader()))[1]) == 1000


def test_only_training_batches_are_augmented(splits: MnistSplits) -> None:
    data = MnistDataModule(splits)
    images, labels = splits.validation[0][:64], splits.validation[1][:64] % 10
    plain, _ = data.on_after_batch_transfer((images, labels), 0)
    assert torch.equal(plain * 255, images.float())
    data.trainer = SimpleNamespace(training=True, current_epoch=0, max_epochs=3)  # type: ignore[assignment]
    augmented, same_labels = data.on_after_batch_transfer((images, labels), 0)
    assert not torch.equal(augmented, plain)
    assert torch.equal(same_labels, labels)


def test_the_last_epochs_have_the_finetuning_augmentation(splits: MnistSplits) -> None:
    used = []
    data = MnistDataModule(splits, finetune_fraction=0.5)
    data.augment = lambda images, labels: used.append("full") or images  # type: ignore[assignment, func-returns-value]
    data.finetune_augment = lambda images, labels: used.append("finetune") or images  # type: ignore[assignment, func-returns-value]
    for epoch in range(4):
        data.trainer = SimpleNamespace(training=True, current_epoch=epoch, max_epochs=4)  # type: ignore[assignment]
        data.on_after_batch_transfer((torch.zeros(1, 1, 28, 28), torch.zeros(1)), 0)
    assert used == ["full", "full", "finetune", "finetune"]


def test_processes_share_every_batch() -> None:
    whole = ShuffledBatchSampler(1000, 64, 3)
    shares = [ShuffledBatchSampler(1000, 64, 3, rank, world_size=2) for rank in range(2)]
    for epoch in (0, 1):
        for sampler in (whole, *shares):
            sampler.set_epoch(epoch)
        for batch, *parts in zip(whole, *shares, strict=True):
            assert [len(part) for part in parts] == [32, 32]
            assert sorted(batch) == sorted([*parts[0], *parts[1]])
    assert len(whole) == len(shares[0]) == 15
    assert next(iter(whole)) != next(iter(ShuffledBatchSampler(1000, 64, 3)))  # epochs differ in their order
