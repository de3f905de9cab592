"""Ink and paper are told apart in the same way in gray and in color."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_lightning.preprocessing.errors import NoDigitError
from mnist_lightning.preprocessing.foreground import ForegroundModel, merge_equal_channels

Bytes = NDArray[np.uint8]


def drawing(seed: int) -> Bytes:
    """A gray image with paper, ink and noise of random shades."""
    rng = np.random.default_rng(seed)
    paper, ink = rng.permutation([rng.integers(0, 110), rng.integers(130, 256)])
    side = int(rng.integers(20, 120))
    image = np.full((side, side), paper, np.uint8)
    points = rng.integers(3, side - 3, (4, 1, 2), dtype=np.int32)
    cv2.polylines(image, [points], False, int(ink), int(rng.integers(1, 6)), cv2.LINE_AA)
    return (image + rng.normal(0, rng.uniform(0, 3), image.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(30))
def test_gray_and_color_give_the_same_ink(seed: int) -> None:
    gray = drawing(seed)
    of_gray, ink = ForegroundModel.fit(gray)
    of_color, color_ink = ForegroundModel.fit(np.ascontiguousarray(np.dstack([gray] * 3)))
    assert of_gray.depth * 3**0.5 == pytest.approx(of_color.depth)
    assert np.abs(ink.astype(int) - color_ink).max() <= 1
    assert ink.shape == gray.shape
    assert (ink < 32).mean() > 0.5
    assert ink.max() == 255


def test_full_ink_is_the_median_of_the_deepest_pixels() -> None:
    image = np.full((40, 40), 200, np.uint8)
    image[10, 10:14] = (0, 50, 60, 100)  # four pixels: the third deepest has full ink
    assert ForegroundModel.fit(image)[0].depth == 200 - 60


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_image_without_ink_is_rejected(value: int) -> None:
    with pytest.raises(NoDigitError):
        ForegroundModel.fit(np.full((28, 28), value, np.uint8))
    faint = np.full((28, 28), value, np.uint8)
    faint[10:20, 10:14] ^= 7
    with pytest.raises(NoDigitError):
        ForegroundModel.fit(faint)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shade", [0, 60])  # across the paper: even, and uneven light
def test_the_ink_of_a_part_is_the_part_of_the_ink(channels: int, shade: int) -> None:
    ramp = np.linspace(0, shade, 90).astype(np.uint8)
    gray = np.full((90, 90), 180, np.uint8) + ramp
    gray[30:60, 40:46] = 20
    image = gray if channels == 1 else np.dstack([gray, gray // 2, gray])
    model, _ = ForegroundModel.fit(image)
    assert (model.paper.ndim > 1) == bool(shade)
    part = slice(25, 70), slice(35, 52)
    np.testing.assert_array_equal(model.foreground(image, part), model.foreground(image)[part])


def test_gray_in_three_channels_becomes_one() -> None:
    gray = drawing(0)
    stored = np.ascontiguousarray(np.dstack([gray] * 3))
    np.testing.assert_array_equal(merge_equal_channels(stored), gray)
    stored[3, 5, 1] ^= 1  # a single colored pixel, anywhere
    assert merge_equal_channels(stored) is stored
    assert merge_equal_channels(gray) is gray
