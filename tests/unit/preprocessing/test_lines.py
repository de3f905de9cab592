"""Lines of writing are found, turned level, and brought to strips."""

import math

import cv2
import numpy as np
import pytest

from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.lines import (
    DIGIT_HEIGHT,
    MARGIN,
    MAX_STRIP,
    STRIP_HEIGHT,
    SUPERSAMPLING,
    find_lines,
    measure,
)


def bars(*boxes: tuple[int, int, int, int], shape: tuple[int, int] = (120, 300)) -> Bytes:
    """Ink in boxes: left, top, width, height."""
    ink = np.zeros(shape, np.uint8)
    for left, top, width, height in boxes:
        ink[top : top + height, left : left + width] = 255
    return ink


def row(top: int, count: int = 4, height: int = 40, left: int = 20, step: int = 40) -> list[tuple[int, int, int, int]]:
    return [(left + step * place, top, 8, height) for place in range(count)]


def test_a_line_becomes_a_strip_of_even_height() -> None:
    (line,) = find_lines(bars(*row(30)))
    assert line.strip.shape == (STRIP_HEIGHT, 2 * MARGIN + math.ceil((3 * 40 + 8) / 2))
    assert line.fine.shape == tuple(SUPERSAMPLING * length for length in line.strip.shape)
    inked = np.flatnonzero(line.strip.max(axis=1) > 127)
    assert inked[-1] - inked[0] + 1 == pytest.approx(DIGIT_HEIGHT, abs=2)


@pytest.mark.parametrize("scale", [0.5, 1, 3])
def test_strips_do_not_depend_on_the_resolution(scale: float) -> None:
    ink = bars(*row(30))
    (line,) = find_lines(np.asarray(cv2.resize(ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)))
    (expected,) = find_lines(ink)
    assert line.strip.shape[1] == pytest.approx(expected.strip.shape[1], abs=2)
    width = min(line.strip.shape[1], expected.strip.shape[1])
    assert np.abs(line.strip[:, :width].astype(int) - expected.strip[:, :width]).mean() < 12


def test_lines_come_from_top_to_bottom() -> None:
    lines = find_lines(bars(*row(70, 2, 20), *row(5, 3, 20), *row(40, 4, 20)))
    assert [round((line.strip.shape[1] - 2 * MARGIN - 8) / 40) + 1 for line in lines] == [3, 4, 2]


def test_smaller_writing_far_from_a_line_is_one_of_its_own() -> None:
    lines = find_lines(bars(*row(10, 4, 60), *row(100, 3, 15)))
    assert [round((line.strip.shape[1] - 2 * MARGIN) / line.matrix[0, 0] / 40) + 1 for line in lines] == [4, 3]


@pytest.mark.parametrize("degrees", [-10, -5, 5, 10])
def test_slanted_lines_are_turned_level(degrees: float) -> None:
    slope = math.tan(math.radians(degrees))
    (line,) = find_lines(
        bars(*((left, round(60 + slope * left), 8, 30) for left in range(20, 260, 30)), shape=(200, 300))
    )
    _, _, stats, _ = cv2.connectedComponentsWithStats(np.asarray(line.strip > 127, dtype=np.uint8))
    assert len(stats) == 9
    assert np.ptp(stats[1:, 1]) <= 1


def test_a_single_stroke_keeps_its_slant() -> None:
    ink = np.zeros((100, 100), np.uint8)
    cv2.line(ink, (40, 90), (60, 10), 255, 6)
    (line,) = find_lines(ink)
    assert line.matrix[0, 1] == 0


def test_small_parts_belong_to_the_nearest_line() -> None:
    lines = find_lines(bars(*row(10, 4, 30), (95, 34, 4, 4), *row(70, 4, 30)))
    assert len(lines) == 2
    assert (lines[0].strip > 127).sum() > (lines[1].strip > 127).sum()


def test_specks_are_left_out() -> None:
    speckled = find_lines(bars(*row(30), (200, 5, 2, 2), (5, 100, 2, 2)))
    assert [line.strip.tolist() for line in speckled] == [line.strip.tolist() for line in find_lines(bars(*row(30)))]


def test_boxes_return_to_the_ink() -> None:
    (line,) = find_lines(bars(*row(30)))
    left, top, width, height = line.box_in_ink((MARGIN, STRIP_HEIGHT / 2 - 10, 4, 20))
    assert (left, top, width, height) == pytest.approx((20, 30, 8, 40), abs=1)


def test_nothing_is_found_without_strong_ink() -> None:
    assert find_lines(np.zeros((50, 50), np.uint8)) == []
    assert find_lines(np.full((50, 50), 80, np.uint8)) == []
    assert measure(np.zeros((50, 50), np.uint8)) == (0, 0.0)


def test_ink_is_measured() -> None:
    assert measure(bars(*row(30))) == (4, 40.0)


def test_a_line_that_is_too_long_is_left_out() -> None:
    assert find_lines(bars((0, 2, MAX_STRIP, 2), (0, 2, 2, 6), shape=(10, MAX_STRIP))) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 2), (3, 1024), (1024, 1024)])
@pytest.mark.parametrize("seed", range(3))
def test_any_ink_is_survived(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, shape, dtype=np.uint8) if seed else np.full(shape, 255, np.uint8)
    for line in find_lines(noise):
        assert line.strip.shape[0] == STRIP_HEIGHT
        assert line.strip.shape[1] <= MAX_STRIP


def test_thousands_of_specks_are_no_lines() -> None:
    noise = np.random.default_rng(0).random((384, 512)) < 0.1
    assert find_lines(np.asarray(noise * 255, dtype=np.uint8)) == []


def test_lines_that_are_too_long_together_are_left_out() -> None:
    rows = [(0, 20 * line, 1400, 3) for line in range(3)] + [(0, 20 * line, 3, 15) for line in range(3)]
    assert find_lines(bars(*rows, shape=(60, 1400))) == []
    assert len(find_lines(bars(*rows[:1], *rows[3:4], shape=(60, 1400)))) == 1
