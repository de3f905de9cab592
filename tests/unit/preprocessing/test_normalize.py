"""Any picture of a digit comes out as MNIST would have drawn it."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import damage, presentations
from mnist_lightning.datasets import mnist
from mnist_lightning.inference.tensors import pixels_of
from mnist_lightning.models import archive
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing.decode import BadPictureError
from mnist_lightning.preprocessing.normalize import NoDigitError, from_bytes, in_mnist_form, normalise, to_mnist
from tests.support import Trained

# What a kind of picture may cost, in points of accuracy, beside the same digits in MNIST's own form.
COST = {"turned": 6, "fine_pen": 4, "thick_pen": 4, "edge_to_edge": 20}
USUAL_COST = 2.5


@pytest.fixture(scope="module")
def digits(mnist_folder: Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = mnist.load(mnist_folder, train=False)
    return images[:, 0].numpy(), labels.numpy()


@pytest.fixture(scope="module")
def reader(reader_store: Trained) -> DigitNet:
    return archive.load_network(reader_store.store / "mnist.mar")


def accuracy(reader: DigitNet, pictures: list[np.ndarray], labels: np.ndarray) -> float:
    with torch.inference_mode():
        answers = reader(torch.from_numpy(np.stack(pictures))[:, None]).argmax(1).numpy()
    return float(100 * (answers == labels).mean())


def test_mnist_stays_as_it_is(digits: tuple[np.ndarray, np.ndarray]) -> None:
    for image in digits[0]:
        assert in_mnist_form(image)
        assert np.array_equal(normalise(image) * 255, image)


def test_the_result_is_in_mnist_s_form(digits: tuple[np.ndarray, np.ndarray]) -> None:
    dice = np.random.default_rng(0)
    for image in digits[0][:50]:
        result = from_bytes(presentations.sketchpad(image, dice))
        assert result.shape == (28, 28)
        assert result.dtype == np.float32
        assert result.min() >= 0
        assert 0.8 < result.max() <= 1
        ys, xs = np.nonzero(result > 0.1)
        assert 19 <= max(np.ptp(ys), np.ptp(xs)) + 1 <= 22
        middle = (result.sum(1) @ np.arange(28) / result.sum(), result.sum(0) @ np.arange(28) / result.sum())
        assert np.abs(np.array(middle) - 14).max() < 0.5


@pytest.mark.parametrize("kind", presentations.KINDS)
def test_digits_are_read_however_they_are_presented(
    kind: str, reader: DigitNet, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = digits[0][:400], digits[1][:400]
    dice = np.random.default_rng(1)
    shown = [from_bytes(presentations.KINDS[kind](image, dice)) for image in images]
    plain = accuracy(reader, [normalise(image) for image in images], labels)
    assert plain > 97
    assert accuracy(reader, shown, labels) >= plain - COST.get(kind, USUAL_COST)


def test_damage_costs_little(reader: DigitNet, digits: tuple[np.ndarray, np.ndarray]) -> None:
    """Two epochs of training stay within twice the error that the default recipe is measured at."""
    images, labels = digits[0][:300], digits[1][:300]
    errors = []
    for make in damage.KINDS.values():
        dice = np.random.default_rng(2)
        errors.append(100 - accuracy(reader, [normalise(make(image, dice)) for image in images], labels))
    assert np.mean(errors) < 12


def test_a_hair_line_on_a_large_canvas_survives() -> None:
    sheet = np.full((1000, 1000), 255, np.uint8)
    for start, end in (((150, 200), (850, 200)), ((850, 200), (400, 900))):
        cv2.line(sheet, start, end, 0, 1)
    result = normalise(sheet)
    assert result.max() > 0.7
    assert 20 < result.sum() < 140  # a fine 7 of MNIST's holds about 60


@pytest.mark.parametrize("colour", [0, 90, 160, 255])
def test_a_blank_picture_has_no_digit(colour: int) -> None:
    for size in ((28, 28), (200, 300), (1000, 1000)):
        with pytest.raises(NoDigitError, match="no ink"):
            to_mnist(Image.new("RGB", size, (colour,) * 3))


def test_paper_with_grain_has_no_digit() -> None:
    dice = np.random.default_rng(0)
    grain = (230 + dice.normal(0, 1.0, (300, 300, 3))).clip(0, 255).astype(np.uint8)
    with pytest.raises(NoDigitError):
        to_mnist(Image.fromarray(grain))


def test_a_picture_of_nothing_but_ink_has_no_digit() -> None:
    array = np.full((200, 200), 20, np.uint8)
    array[:8] = array[-8:] = array[:, :8] = array[:, -8:] = 250
    with pytest.raises(NoDigitError, match="nearly all ink"):
        normalise(array)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2), (3, 200), (5, 5)])
def test_no_size_is_too_small_for_an_answer_or_an_error(size: tuple[int, int]) -> None:
    dice = np.random.default_rng(0)
    for array in (dice.integers(0, 256, size, dtype=np.uint8), dice.integers(0, 256, (*size, 4), dtype=np.uint8)):
        try:
            assert normalise(array).shape == (28, 28)
        except BadPictureError as error:
            assert str(error)


def test_noise_of_any_kind_gets_an_answer_or_an_error() -> None:
    dice = np.random.default_rng(0)
    for _ in range(300):
        shape = (*dice.integers(1, 120, 2).tolist(), *dice.choice([0, 3, 4], 1).tolist())
        array = dice.integers(0, 256, [side for side in shape if side], dtype=np.uint8)
        array = np.where(dice.random(array.shape) < dice.random(), array, dice.integers(256)).astype(np.uint8)
        try:
            result = normalise(array)
            assert result.shape == (28, 28)
            assert np.isfinite(result).all()
        except BadPictureError as error:
            assert str(error)


def test_numbers_are_read_as_a_picture(digits: tuple[np.ndarray, np.ndarray]) -> None:
    image = digits[0][0]
    assert np.array_equal(normalise(pixels_of(image.ravel().tolist())), image.astype(np.float32) / 255)
    assert np.array_equal(normalise(pixels_of(image.tolist())), image.astype(np.float32) / 255)


def test_a_pillow_picture_is_read_as_its_file(digits: tuple[np.ndarray, np.ndarray]) -> None:
    content = presentations.coloured(digits[0][3], np.random.default_rng(0))
    assert np.array_equal(to_mnist(Image.open(io.BytesIO(content))), from_bytes(content))
