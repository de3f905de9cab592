"""MNIST's training, validation and test images as tensors in memory."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from mnist_lightning.datasets import mnist

VALIDATION_IMAGES = 5_000
SPLIT_SEED = 20_261_124  # one split for all runs: they are compared on the same validation images

Batch = tuple[torch.Tensor, torch.Tensor]  # images (B, 1, 28, 28) uint8, labels (B,) int64


@dataclass(frozen=True)
class MnistSplits:
    """Images (N, 1, 28, 28) uint8 and labels (N,) int64 of the three sets."""

    training: Batch  # 55,000 images
    validation: Batch  # 5,000 images of the official training set, stratified by digit
    test: Batch  # the official 10,000 test images

    @classmethod
    def load(cls, folder: Path, limit: int | None = None) -> "MnistSplits":
        """Read the sets from `folder`, which receives MNIST's files if it lacks them.

        Args:
            folder: where the four IDX files are.
            limit: keep only so many training images; None keeps all.

        Raises:
            mnist.MnistUnavailableError: MNIST cannot be downloaded.
        """
        from sklearn.model_selection import train_test_split  # only here: importing it takes a second

        mnist.fetch(folder)
        images, labels = mnist.load(folder, train=True)
        training, validation = train_test_split(
            np.arange(len(labels)), test_size=VALIDATION_IMAGES, stratify=labels.numpy(), random_state=SPLIT_SEED
        )
        return cls(
            training=(images[training][:limit], labels[training][:limit]),
            validation=(images[validation], labels[validation]),
            test=mnist.load(folder, train=False),
        )

    def extended(self, training: Batch, validation: Batch) -> "MnistSplits":
        """The same sets with further training and validation images before the others."""
        return replace(self, training=_joined(training, self.training), validation=_joined(validation, self.validation))


def _joined(first: Batch, second: Batch) -> Batch:
    images, labels = (torch.cat(parts) for parts in zip(first, second, strict=True))
    return images, labels
