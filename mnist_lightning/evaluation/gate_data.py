"""The pictures on which a challenger is compared with the champion, prepared once for both."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mnist_lightning.datasets import outliers
from mnist_lightning.datasets.feedback import FeedbackPicture
from mnist_lightning.datasets.splits import Batch, MnistSplits
from mnist_lightning.evaluation.corruptions import CORRUPTIONS
from mnist_lightning.evaluation.presentations import PRESENTATIONS
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.errors import BadPictureError
from mnist_lightning.preprocessing.normalize import NormalizedImage, normalize_with_count, read_picture

Picture = TypeVar("Picture")
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

        def first(count: int) -> tuple[Bytes, NDArray[np.int64]]:
            return images[:count], labels[:count]

        plain, plain_labels = first(sizes.test_digits)
        sets = {
            TEST: LabelledImages([_prepared(normalize_with_count, image) for image in plain], plain_labels),
            CORRUPTED: _varied(CORRUPTIONS.values(), normalize_with_count, *first(sizes.corrupted_digits)),
            PRESENTED: _varied(PRESENTATIONS.values(), read_picture, *first(sizes.presented_digits)),
            NON_DIGITS: _non_digits(splits.validation, sizes.non_digits_per_kind),
        }
        if feedback:
            shown = [picture.image for picture in feedback]
            sets[FEEDBACK] = LabelledImages(shown, np.array([picture.label for picture in feedback]))
        return cls({name: sets[name] for name in TITLES if name in sets}, splits.validation)


def _varied(
    kinds: Collection[Callable[[Bytes, Generator], Picture]],
    prepare: Callable[[Picture], NormalizedImage],
    images: Bytes,
    labels: NDArray[np.int64],
) -> LabelledImages:
    """Every image in every kind of variation, kind after kind."""
    rng = np.random.default_rng(SEED)
    made = [_prepared(prepare, vary(image, rng)) for vary in kinds for image in images]
    return LabelledImages(made, np.tile(labels, len(kinds)))


def _non_digits(digits: Batch, n_per_kind: int) -> LabelledImages:
    """Pictures of the kinds that the out-of-distribution head is fitted to, but others than those."""
    altered = outliers.altered_digits(digits[0][:, 0].numpy(), digits[1].numpy())
    images, _ = outliers.generate({**outliers.OUTLIER_KINDS, **altered}, n_per_kind, SEED)
    return LabelledImages([NormalizedImage(image, 1) for image in images], np.full(len(images), NO_DIGIT))


def _prepared(prepare: Callable[[Picture], NormalizedImage], picture: Picture) -> NormalizedImage | None:
    """A picture as the network receives it, None if preprocessing refuses it."""
    try:
        return prepare(picture)
    except BadPictureError:
        return None
