"""The pictures on which a challenger is compared with the champion, prepared once for both."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_lightning.datasets import outliers
from mnist_lightning.datasets.feedback import FeedbackPicture
from mnist_lightning.datasets.splits import Batch, MnistSplits
from mnist_lightning.evaluation.corruptions import CORRUPTIONS
from mnist_lightning.evaluation.presentations import PRESENTATIONS
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.errors import BadPictureError
from mnist_lightning.preprocessing.normalize import NormalizedImage, normalize_with_count, read_picture

SEED = 20_261_127  # of corruptions, presentations and non-digits: the same pictures at every comparison
NO_DIGIT = -1  # the label of a picture that shows none
TEST, CORRUPTED, PRESENTED, FEEDBACK, NON_DIGITS = "test", "corrupted", "presented", "feedback", "non_digits"
TITLES: Mapping[str, str] = {
    TEST: "MNIST's test set",
    CORRUPTED: "corrupted digits",
    PRESENTED: "digits as drawn and photographed",
    FEEDBACK: "held-out feedback",
    NON_DIGITS: "non-digits rejected",
}


@dataclass(frozen=True)
class GateSizes:
    """How many pictures are read."""

    test_digits: int
    corrupted_digits: int
    presented_digits: int
    non_digits_per_kind: int


@dataclass(frozen=True)
class LabelledImages:
    """Pictures as the network receives them, None where preprocessing refuses one, and their labels (N,)."""

    images: Sequence[NormalizedImage | None]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class GateData:
    """The sets of pictures by name, and MNIST's validation images."""

    sets: Mapping[str, LabelledImages]
    validation: Batch

    @classmethod
    def build(cls, splits: MnistSplits, feedback: Sequence[FeedbackPicture], sizes: GateSizes) -> "GateData":
        """Prepare the pictures; without feedback, that set is missing.

        Args:
            splits: MNIST; its training images are not used.
            feedback: corrected pictures that are held out.
            sizes: how many of the others.
        """
        print("preparing the pictures of the comparison", file=sys.stderr, flush=True)
        images, labels = splits.test[0][:, 0].numpy(), splits.test[1].numpy()
        sets = {
            TEST: _labelled((_normalize(image) for image in images[: sizes.test_digits]), labels[: sizes.test_digits]),
            CORRUPTED: _corrupted(images[: sizes.corrupted_digits], labels[: sizes.corrupted_digits]),
            PRESENTED: _presented(images[: sizes.presented_digits], labels[: sizes.presented_digits]),
            NON_DIGITS: _non_digits(splits.validation, sizes.non_digits_per_kind),
        }
        if feedback:
            shown = [picture.image for picture in feedback]
            sets[FEEDBACK] = _labelled(shown, np.array([picture.label for picture in feedback]))
        return cls({name: sets[name] for name in TITLES if name in sets}, splits.validation)


def _labelled(images: Iterable[NormalizedImage | None], labels: NDArray[np.int64]) -> LabelledImages:
    return LabelledImages(list(images), labels)


def _corrupted(images: Bytes, labels: NDArray[np.int64]) -> LabelledImages:
    rng = np.random.default_rng(SEED)
    made = [_normalize(corrupt(image, rng)) for corrupt in CORRUPTIONS.values() for image in images]
    return LabelledImages(made, np.tile(labels, len(CORRUPTIONS)))


def _presented(images: Bytes, labels: NDArray[np.int64]) -> LabelledImages:
    rng = np.random.default_rng(SEED)
    made = [_read(present(image, rng)) for present in PRESENTATIONS.values() for image in images]
    return LabelledImages(made, np.tile(labels, len(PRESENTATIONS)))


def _non_digits(digits: Batch, n_per_kind: int) -> LabelledImages:
    """Pictures of the kinds that the out-of-distribution head is fitted to, but others than those."""
    altered = outliers.altered_digits(digits[0][:, 0].numpy(), digits[1].numpy())
    images, _ = outliers.generate({**outliers.OUTLIER_KINDS, **altered}, n_per_kind, SEED)
    return LabelledImages([NormalizedImage(image, 1) for image in images], np.full(len(images), NO_DIGIT))


def _normalize(image: Bytes) -> NormalizedImage | None:
    try:
        return normalize_with_count(image)
    except BadPictureError:
        return None


def _read(content: bytes) -> NormalizedImage | None:
    try:
        return read_picture(content)
    except BadPictureError:
        return None
