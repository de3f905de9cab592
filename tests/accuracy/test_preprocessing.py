"""What preprocessing is worth: the small network's accuracy on MNIST's test digits, presented and corrupted."""

from pathlib import Path

import numpy as np
import pytest

from mnist_lightning.datasets import mnist
from mnist_lightning.evaluation import corruptions, presentations
from mnist_lightning.evaluation.classify import answer_images
from mnist_lightning.models import archive
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing.decode import decode
from mnist_lightning.preprocessing.normalize import NormalizedImage, normalize_with_count

DIGITS = 200
# Loss of accuracy in points that a kind of picture may cause, against the same digits in MNIST's own form.
MAX_LOSS = {"turned": 6, "turned_far": 9, "fine_pen": 4, "thick_pen": 4, "edge_to_edge": 20}
DEFAULT_MAX_LOSS = 2.5


@pytest.fixture(scope="module")
def digits(mnist_folder: Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = mnist.load(mnist_folder, train=False)
    return images[:DIGITS, 0].numpy(), labels[:DIGITS].numpy()


@pytest.fixture(scope="module")
def network(small_store: Path) -> DigitNet:
    return archive.load_network(small_store / "mnist.mar")


@pytest.fixture(scope="module")
def plain(network: DigitNet, digits: tuple[np.ndarray, np.ndarray]) -> float:
    """The accuracy on the digits in MNIST's own form."""
    return accuracy(network, [normalize_with_count(image) for image in digits[0]], digits[1])


def accuracy(network: DigitNet, pictures: list[NormalizedImage], labels: np.ndarray) -> float:
    answers = [answer["prediction"] for answer in answer_images(network, pictures)]
    return float(100 * (np.array(answers) == labels).mean())


def as_it_is(image: np.ndarray) -> NormalizedImage:
    return NormalizedImage(image.astype(np.float32) / np.float32(255), digits=1)


@pytest.mark.parametrize("kind", presentations.PRESENTATIONS)
def test_digits_are_read_however_they_are_presented(
    kind: str, network: DigitNet, digits: tuple[np.ndarray, np.ndarray], plain: float
) -> None:
    images, labels = digits
    rng = np.random.default_rng(1)
    shown = [normalize_with_count(decode(presentations.PRESENTATIONS[kind](image, rng))) for image in images]
    assert plain > 97
    assert accuracy(network, shown, labels) >= plain - MAX_LOSS.get(kind, DEFAULT_MAX_LOSS)


def test_normalization_reduces_the_error_on_corrupted_digits(
    network: DigitNet, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    """The network has seen no corruption; what it misreads without preprocessing is the measure."""
    images, labels = digits
    normalized, unprocessed = [], []
    for corrupt in corruptions.CORRUPTIONS.values():
        rng = np.random.default_rng(2)
        corrupted = [corrupt(image, rng) for image in images]
        normalized.append(100 - accuracy(network, [normalize_with_count(image) for image in corrupted], labels))
        unprocessed.append(100 - accuracy(network, [as_it_is(image) for image in corrupted], labels))
    assert np.mean(normalized) < np.mean(unprocessed) - 8
    assert np.max(np.array(normalized) - np.array(unprocessed)) < 8
