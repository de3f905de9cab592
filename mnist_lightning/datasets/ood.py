"""The images that the out-of-distribution head is fitted and measured on."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from mnist_lightning.datasets import outliers
from mnist_lightning.datasets.augment import Augmentation
from mnist_lightning.datasets.outliers import OutlierSet
from mnist_lightning.datasets.sketches import DrawFunction
from mnist_lightning.datasets.splits import Batch, MnistSplits

DIGIT_AUGMENTATION = Augmentation(corruption=0)
# Digits of each form for every outlier of one kind; there are sixteen kinds of outliers.
PLAIN, AUGMENTED, REDRAWN, TYPESET = 8, 12, 8, 1
HELD_OUT = 8
AUGMENTATION_BATCH = 512


@dataclass(frozen=True)
class OODDataset:
    """Digits and outliers, (N, 1, 28, 28) uint8 each: for training, and held out for calibration and measurement."""

    train_digits: torch.Tensor
    train_outliers: torch.Tensor
    held_out_digits: torch.Tensor
    held_out_outliers: torch.Tensor

    @classmethod
    def build(
        cls,
        splits: MnistSplits,
        n_per_kind: int,
        *,
        n_held_out: int | None = None,
        augment: Augmentation = DIGIT_AUGMENTATION,
        kinds: Mapping[str, DrawFunction] | None = None,
    ) -> "OODDataset":
        """Generate the data set; the same arguments give the same images.

        Args:
            splits: training digits come from the training images, held-out ones from the validation images.
            n_per_kind: training outliers of every kind; all digits together are about twice as many as all outliers.
            n_held_out: validation images to use; None uses all.
            augment: augmentation of the digits.
            kinds: the kinds of outliers; by default all of `outliers.OUTLIER_KINDS`, and altered digits.
        """
        train = splits.training
        held_out = splits.validation[0][:n_held_out], splits.validation[1][:n_held_out]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            varied = _augment(_repeat(train, AUGMENTED * n_per_kind), augment)
            held_out_varied = _augment(held_out, augment)
        plain, _ = _repeat(train, PLAIN * n_per_kind)
        sets = [
            OutlierSet({"typed": outliers.typeset(outliers.DIGITS)}, TYPESET * n_per_kind, seed=0),
            OutlierSet(_redrawn(varied), REDRAWN * n_per_kind, seed=0),
            OutlierSet(_redrawn(held_out[0]), len(held_out[0]), seed=1),
            OutlierSet(kinds or _all_kinds(train), n_per_kind, seed=0),
            OutlierSet(kinds or _all_kinds(held_out), n_per_kind // 8 + 1, seed=1),
        ]
        typeset, redrawn, held_out_redrawn, train_outliers, held_out_outliers = (
            _to_uint8(torch.from_numpy(images[:, None])) for images in outliers.generate_all(sets)
        )
        return cls(
            train_digits=torch.cat([plain, varied, redrawn, typeset]),
            train_outliers=train_outliers,
            held_out_digits=torch.cat([held_out[0], held_out_varied, held_out_redrawn]),
            held_out_outliers=held_out_outliers,
        )


def _all_kinds(data: Batch) -> Mapping[str, DrawFunction]:
    return {**outliers.OUTLIER_KINDS, **outliers.altered_digits(data[0][:, 0].numpy(), data[1].numpy())}


def _repeat(data: Batch, count: int) -> Batch:
    """The first `count` images, repeated from the start if there are fewer."""
    indices = torch.arange(count) % len(data[1])
    return data[0][indices], data[1][indices]


def _augment(data: Batch, augment: Augmentation) -> torch.Tensor:
    parts = zip(*(torch.split(part, AUGMENTATION_BATCH) for part in data), strict=True)
    return _to_uint8(torch.cat([augment(images.float() / 255, labels) for images, labels in parts]))


def _redrawn(images: torch.Tensor) -> Mapping[str, DrawFunction]:
    return {"redrawn": outliers.redrawn_digits(images[:, 0].numpy())}


def _to_uint8(images: torch.Tensor) -> torch.Tensor:
    return (images * 255).round().to(torch.uint8)
