"""The training, validation and test images."""

from pathlib import Path

import pytest
import torch

from mnist_lightning.datasets.splits import MnistSplits


@pytest.fixture(scope="module")
def splits(mnist_folder: Path) -> MnistSplits:
    return MnistSplits.load(mnist_folder)


def test_the_split_is_stratified_and_complete(splits: MnistSplits) -> None:
    counts = torch.bincount(splits.training[1]), torch.bincount(splits.validation[1])
    assert (int(counts[0].sum()), int(counts[1].sum())) == (55_000, 5_000)
    shares = counts[1] / (counts[0] + counts[1])
    assert (shares - 1 / 12).abs().max() < 1e-3
    everything = torch.cat([splits.training[0], splits.validation[0]]).flatten(1).sum(1, dtype=torch.int64)
    assert int(everything.sum()) == 1_567_298_545  # every pixel of the 60,000 images once
    assert splits.test[0].shape == (10_000, 1, 28, 28)


def test_a_limit_keeps_that_many_training_images(splits: MnistSplits, mnist_folder: Path) -> None:
    limited = MnistSplits.load(mnist_folder, limit=100)
    assert torch.equal(limited.training[0], splits.training[0][:100])
    assert torch.equal(limited.validation[0], splits.validation[0])
