"""Simulated photographs: the mask is where the digits' ink is, and the same seed gives the same photographs."""

import cv2
import numpy as np
import pytest

from mnist_lightning.datasets import paper
from mnist_lightning.datasets.page_steps import KINDS
from mnist_lightning.preprocessing.decode import Bytes


def stroke() -> Bytes:
    digit = np.zeros((28, 28), np.uint8)
    cv2.line(digit, (14, 5), (12, 22), 255, 3)
    return digit


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_digit_in_the_picture(kind: str) -> None:
    for seed in range(8):
        made = paper.photograph([stroke()], np.random.default_rng([2, seed]), 96, kind)
        assert made.image.shape == (*made.mask.shape, 3)
        assert max(made.mask.shape) == 96
        assert made.mask.max() > 100
        assert 0.0005 < np.mean(made.mask > 127) < 0.3


def test_ink_differs_from_what_is_around_it() -> None:
    differences = []
    for seed in range(20):
        made = paper.photograph([stroke()], np.random.default_rng([3, seed]), 96, "plain")
        ink, around = made.mask > 200, cv2.dilate(made.mask, np.ones((15, 15))) == 0
        differences.append(abs(float(made.image[ink].mean()) - float(made.image[around].mean())))
    assert np.median(differences) > 30


def test_a_box_is_not_part_of_the_mask() -> None:
    plain = paper.photograph([stroke()], np.random.default_rng(5), 96, "plain")
    boxed = paper.photograph([stroke()], np.random.default_rng(5), 96, "boxed")
    assert np.array_equal(plain.mask, boxed.mask)
    assert not np.array_equal(plain.image, boxed.image)


def test_digits_of_a_number_lie_side_by_side() -> None:
    made = paper.photograph([stroke()] * 4, np.random.default_rng(0), 192, "plain")
    columns = (made.mask > 127).any(axis=0)
    assert np.count_nonzero(np.diff(columns.astype(int)) == 1) >= 3


def test_photographs_depend_on_the_arguments_alone() -> None:
    digits = np.stack([stroke()] * 5)
    images, masks = paper.photographs(digits, 60, seed=1, side=64)  # two chunks
    again, _ = paper.photographs(digits, 52, seed=1, side=64)
    other, _ = paper.photographs(digits, 52, seed=2, side=64)
    assert (images.shape, masks.shape) == ((60, 64, 64, 3), (60, 64, 64))
    assert np.array_equal(images[:52], again)
    assert not np.array_equal(again, other)
