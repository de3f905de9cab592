"""The digits' ink is found on squared paper and inside boxes; simple pictures do without the network."""

import contextlib
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import pytest

from mnist_lightning.datasets import mnist, paper
from mnist_lightning.datasets.page_steps import KINDS
from mnist_lightning.evaluation import presentations
from mnist_lightning.preprocessing import normalize as normalization
from mnist_lightning.preprocessing import segment
from mnist_lightning.preprocessing.decode import Bytes, decode, image_pyramid
from mnist_lightning.preprocessing.errors import NoDigitError
from mnist_lightning.preprocessing.segment import PICTURE_SIDE, find_ink, pad_to_square

PLAIN = ("sketchpad", "blackboard", "small", "large", "thick_pen", "turned", "colored")
MARKED = ("skewed_squares", "underlined", "boxed", "circled", "shadow")


@pytest.fixture(scope="module")
def digits(mnist_folder: Path) -> Bytes:
    images: Bytes = mnist.load(mnist_folder, train=False)[0][:40, 0].numpy()
    return images


@pytest.mark.parametrize("kind", KINDS)
def test_ink_is_found_on_every_kind_of_paper(kind: str, digits: Bytes) -> None:
    overlap = total = 0
    for number, digit in enumerate(digits):
        made = paper.photograph([digit], np.random.default_rng([1, number]), PICTURE_SIDE, kind)
        found, mask = find_ink([made.image]) > 127, made.mask > 127
        overlap, total = overlap + int((found & mask).sum()), total + int((found | mask).sum())
    assert overlap / total > 0.6


@pytest.mark.parametrize("shape", [(64, 64), (300, 40), (40, 300, 3), (191, 192, 3), (193, 385), (1000, 1, 3)])
def test_any_size_has_ink_of_its_proportions(shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    ink = find_ink(image_pyramid(picture, 256))
    assert max(ink.shape) == PICTURE_SIDE
    assert ink.shape[0] / ink.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.03) or 1 in ink.shape


def test_gray_pictures_are_read_as_colored_ones(digits: Bytes) -> None:
    made = paper.photograph([digits[0]], np.random.default_rng(0), PICTURE_SIDE, "squared")
    gray = np.asarray(cv2.cvtColor(made.image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    assert np.array_equal(find_ink([gray]), find_ink([np.stack([gray] * 3, axis=2)]))


@pytest.mark.parametrize("kind", PLAIN + MARKED)
def test_only_pictures_with_more_than_a_digit_pay_for_it(kind: str, digits: Bytes) -> None:
    rng = np.random.default_rng(0)
    with patch.object(normalization, "find_ink", wraps=find_ink) as network:
        for digit in digits:
            normalization.normalize(decode(presentations.PRESENTATIONS[kind](digit, rng)))
    share = network.call_count / len(digits)
    assert share <= 0.1 if kind in PLAIN else share >= 0.7


def squared_page(digit: Bytes, height: int, side: int = 900) -> Bytes:
    """A digit of `height` pixels on a page of squares."""
    page = np.full((side, side, 3), 245, np.uint8)
    page[::45] = page[:, ::45] = (150, 170, 220)
    ink = presentations.strokes(digit, height)[..., None]
    middle = slice(side // 3, side // 3 + height)
    page[middle, middle] = (page[middle, middle] * (1 - ink) + 30 * ink).astype(np.uint8)
    return page


@pytest.mark.parametrize(("height", "looks"), [(500, 1), (90, 2)])
def test_a_small_digit_on_a_large_page_is_looked_at_more_closely(height: int, looks: int, digits: Bytes) -> None:
    differences = []
    for digit in digits[:10]:
        with patch.object(normalization, "find_ink", wraps=find_ink) as network:
            found = normalization.normalize(squared_page(digit, height))
        assert network.call_count == looks
        sheet = np.pad((255 * presentations.strokes(digit, height)).astype(np.uint8), height)
        differences.append(np.abs(found - normalization.normalize(sheet)).mean())
    assert np.median(differences) < 0.03


@pytest.mark.parametrize("shape", [(30, 1024), (3, 1000), (1000, 3), (1024, 37)])
def test_flat_pictures_are_looked_at_more_closely_too(shape: tuple[int, int]) -> None:
    page = np.full((*shape, 3), 245, np.uint8)
    page[:, ::9] = page[::9] = (150, 170, 220)
    rows, columns = (slice(length // 3, max(length // 3 + 1, length // 3 + 20)) for length in shape)
    page[rows, columns] = 20
    with contextlib.suppress(NoDigitError):
        assert normalization.normalize(page).shape == (28, 28)


def test_the_first_look_counts_if_the_closer_one_finds_nothing(digits: Bytes) -> None:
    page = squared_page(digits[0], 90)
    with patch.object(normalization, "MIN_SEGMENTED", 0):
        expected = normalization.normalize(page)
    nothing = np.zeros((PICTURE_SIDE, PICTURE_SIDE), np.uint8)
    with patch.object(normalization, "find_ink", side_effect=[find_ink(image_pyramid(page, 256)), nothing]):
        assert np.array_equal(normalization.normalize(page), expected)


def test_a_picture_without_ink_for_the_network_is_read_as_it_is(digits: Bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = decode(presentations.boxed(digits[0], np.random.default_rng(0)))
    monkeypatch.setattr(normalization, "find_ink", lambda levels: np.zeros((PICTURE_SIDE, PICTURE_SIDE), np.uint8))
    assert normalization.normalize(picture).max() > 0.5


@pytest.mark.parametrize("content", [b"no model", None])
def test_a_file_that_is_missing_or_damaged_is_named(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "other.onnx"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(segment, "SHIPPED", path)
    with pytest.raises(RuntimeError, match=r"other\.onnx"):
        find_ink([np.zeros((64, 64), np.uint8)])


def test_padding_keeps_the_picture_in_the_upper_left_corner() -> None:
    padded = pad_to_square(np.full((2, 3), 7, np.uint8), 4, cv2.BORDER_CONSTANT)
    assert padded.tolist() == [[7, 7, 7, 0], [7, 7, 7, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
