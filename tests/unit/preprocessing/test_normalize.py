"""Any picture of a digit is brought to MNIST's form."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import integers
from PIL import Image

from mnist_lightning.datasets import mnist
from mnist_lightning.evaluation import presentations
from mnist_lightning.inference.tensors import parse_pixels
from mnist_lightning.preprocessing import normalize as normalize_module
from mnist_lightning.preprocessing.errors import BadPictureError, NoDigitError
from mnist_lightning.preprocessing.normalize import (
    from_bytes,
    from_image,
    is_in_mnist_form,
    normalize,
    normalize_with_count,
)


@pytest.fixture(scope="module")
def digits(mnist_folder: Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = mnist.load(mnist_folder, train=False)
    return images[:, 0].numpy(), labels.numpy()


def test_mnist_is_unchanged(digits: tuple[np.ndarray, np.ndarray]) -> None:
    for image in digits[0]:
        assert is_in_mnist_form(image)
        assert np.array_equal(normalize(image) * 255, image)


def test_the_result_is_in_mnist_s_form(digits: tuple[np.ndarray, np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    for image in digits[0][:50]:
        result = from_bytes(presentations.sketchpad(image, rng))
        assert result.shape == (28, 28)
        assert result.dtype == np.float32
        assert result.min() >= 0
        assert 0.8 < result.max() <= 1
        ys, xs = np.nonzero(result > 0.1)
        assert 19 <= max(np.ptp(ys), np.ptp(xs)) + 1 <= 22
        middle = (result.sum(1) @ np.arange(28) / result.sum(), result.sum(0) @ np.arange(28) / result.sum())
        assert np.abs(np.array(middle) - 14).max() < 0.5


def test_a_hair_line_on_a_large_canvas_survives() -> None:
    sheet = np.full((1000, 1000), 255, np.uint8)
    for start, end in (((150, 200), (850, 200)), ((850, 200), (400, 900))):
        cv2.line(sheet, start, end, 0, 1)
    result = normalize(sheet)
    assert result.max() > 0.7
    assert 20 < result.sum() < 140  # a fine 7 of MNIST's holds about 60


@pytest.mark.parametrize("color", [0, 90, 160, 255])
def test_a_blank_picture_has_no_digit(color: int) -> None:
    for size in ((28, 28), (200, 300), (1000, 1000)):
        with pytest.raises(NoDigitError, match="no ink"):
            from_image(Image.new("RGB", size, (color,) * 3))


def test_paper_with_grain_has_no_digit() -> None:
    rng = np.random.default_rng(0)
    grain = (230 + rng.normal(0, 1.0, (300, 300, 3))).clip(0, 255).astype(np.uint8)
    with pytest.raises(NoDigitError):
        from_image(Image.fromarray(grain))


def test_a_picture_that_is_nearly_all_ink_has_no_digit() -> None:
    array = np.full((200, 200), 20, np.uint8)
    array[:8] = array[-8:] = array[:, :8] = array[:, -8:] = 250
    with pytest.raises(NoDigitError, match="nearly all ink"):
        normalize(array)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2), (3, 200), (5, 5)])
def test_no_size_is_too_small_for_an_answer_or_an_error(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for array in (rng.integers(0, 256, size, dtype=np.uint8), rng.integers(0, 256, (*size, 4), dtype=np.uint8)):
        try:
            assert normalize(array).shape == (28, 28)
        except BadPictureError as error:
            assert str(error)


@given(seed=integers(0, 2**32 - 1))
def test_noise_of_any_kind_gets_an_answer_or_an_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (*rng.integers(1, 80, 2).tolist(), *rng.choice([0, 3, 4], 1).tolist())
    array = rng.integers(0, 256, [side for side in shape if side], dtype=np.uint8)
    array = np.where(rng.random(array.shape) < rng.random(), array, rng.integers(256)).astype(np.uint8)
    try:
        result = normalize(array)
        assert result.shape == (28, 28)
        assert np.isfinite(result).all()
    except BadPictureError as error:
        assert str(error)


def test_numbers_are_normalized_as_a_picture(digits: tuple[np.ndarray, np.ndarray]) -> None:
    image = digits[0][0]
    assert np.array_equal(normalize(parse_pixels(image.ravel().tolist())), image.astype(np.float32) / 255)
    assert np.array_equal(normalize(parse_pixels(image.tolist())), image.astype(np.float32) / 255)


def test_the_image_alone_takes_no_reading_of_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training generates thousands of pictures of several digits; reading them takes most of the time."""
    canvas = np.full((140, 280), 255, np.uint8)
    cv2.putText(canvas, "1740", (30, 100), cv2.FONT_HERSHEY_SIMPLEX, 3, 0, 8)
    read = normalize_with_count(canvas)
    assert read.number is not None
    monkeypatch.setattr(normalize_module, "read_number", None)
    np.testing.assert_array_equal(normalize(canvas), read.image)


def test_a_pillow_image_is_normalized_as_its_file(digits: tuple[np.ndarray, np.ndarray]) -> None:
    content = presentations.colored(digits[0][3], np.random.default_rng(0))
    assert np.array_equal(from_image(Image.open(io.BytesIO(content))), from_bytes(content))
