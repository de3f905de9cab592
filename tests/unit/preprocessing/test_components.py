"""Digits side by side are counted; what belongs to one digit, or to none, is not another."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mnist_lightning.datasets import mnist, outliers
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.normalize import normalize_with_count
from tests.pictures import row_of_digits


@pytest.fixture(scope="module")
def digits(mnist_folder: Path) -> Bytes:
    images: Bytes = mnist.load(mnist_folder, train=False)[0][:1000, 0].numpy()
    return images


@pytest.mark.parametrize("count", [2, 3, 5])
def test_digits_side_by_side_are_counted(count: int, digits: Bytes) -> None:
    counts = [normalize_with_count(row_of_digits(digits[n : n + count])).digits for n in range(0, 100, count)]
    assert np.mean(np.array(counts) == count) > 0.9


def test_one_digit_is_one(digits: Bytes) -> None:
    rng = np.random.default_rng(0)
    draw = outliers.redrawn_digits(digits)
    counts = [normalize_with_count(outliers.vary_canvas(draw(rng), rng)).digits for _ in range(300)]
    assert np.mean(np.array(counts) == 1) > 0.995


def draw_strokes(*strokes: list[tuple[int, int]]) -> Bytes:
    canvas = np.full((200, 200), 255, np.uint8)
    for stroke in strokes:
        cv2.polylines(canvas, [np.array(stroke, np.int32)], False, 0, 9, cv2.LINE_AA)
    return canvas


BOWL = [(80, 50), (76, 90), (110, 86), (128, 110), (118, 145), (80, 150)]
BAR = [(80, 50), (125, 48)]
LINES = np.where(np.arange(200) % 40 == 5, 150, 255).astype(np.uint8)[:, None]
ONE_DIGIT = {
    "a 5 with its bar apart": draw_strokes(BOWL, [(95, 40), (140, 36)]),
    "an open 4": draw_strokes([(70, 50), (64, 100), (110, 100)], [(122, 45), (120, 160)]),
    "a digit in a frame": cv2.rectangle(draw_strokes(BOWL, BAR), (5, 5), (194, 194), 0, 3),
    "a digit and a speck": cv2.circle(draw_strokes(BOWL, BAR), (170, 100), 4, 0, -1),
    "a digit on ruled paper": np.minimum(draw_strokes(BOWL, BAR), LINES),
}


@pytest.mark.parametrize("name", ONE_DIGIT)
def test_other_components_are_not_another_digit(name: str) -> None:
    assert normalize_with_count(np.asarray(ONE_DIGIT[name], np.uint8)).digits == 1
