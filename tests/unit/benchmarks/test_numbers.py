"""The comparison of readers of numbers, and over-segmentation: its pieces and its path."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import numbers
from benchmarks.number_pictures import SHEET_SIDE, Digits, samples, sheet
from benchmarks.oversegmentation import HEIGHT, Lattice, Segment, Weights, cut_into_pieces
from mnist_lightning.preprocessing.decode import decode

EVEN = Weights(is_digit=1, segment=0, lowness=0, cut=0, gap=0)


@pytest.mark.parametrize("measure", ["--validation", "--calibration", "--tune", "--time"])
def test_every_measurement_ends_in_a_report(
    measure: str,
    small_store: Path,
    mnist_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = ["--numbers", "2", "--photographs", "1", "--sheets", "1", "--repeats", "1"]
    monkeypatch.setattr(numbers, "MEGAPIXELS_12", (800, 600))
    monkeypatch.setattr(numbers, "TIMED", 1)
    monkeypatch.setattr(
        sys, "argv", ["numbers", "--store", str(small_store), "--data", str(mnist_folder), *sizes, measure]
    )
    assert numbers.main() == 0
    printed = capsys.readouterr().out
    assert "\n| " in printed
    assert json.loads(printed.splitlines()[-1])


def test_pictures_are_the_same_each_time() -> None:
    digits = Digits(np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8), np.arange(10))
    first, second = (list(samples("sheets", sheet(2, 3), digits, 2)) for _ in range(2))
    assert first == second
    assert first[0].label != first[1].label
    assert [len(line) for line in first[0].label.split("\n")] == [3, 3]
    assert max(decode(first[0].content).shape) == SHEET_SIDE


def test_digits_that_share_columns_are_pieces_of_their_own() -> None:
    left, right = (np.zeros((64, 80), np.uint8) for _ in range(2))
    cv2.line(left, (20, 50), (36, 12), 255, 3)
    cv2.line(right, (32, 52), (48, 14), 255, 3)
    owners, cuts = cut_into_pieces(left + right)
    assert owners[left > 0].max() < owners[right > 0].min()
    assert set(np.unique(owners)) == set(range(len(cuts) + 1))
    assert cuts[owners[right > 0].min() - 1] == 0


def test_ink_is_cut_where_it_is_thin() -> None:
    strip = np.zeros((64, 100), np.uint8)
    for left in (10, 48):
        cv2.ellipse(strip, (left + 18, 32), (16, HEIGHT // 2), 0, 0, 360, 255, 4)
    strip[30:33, 40:56] = 255
    owners, cuts = cut_into_pieces(strip)
    assert owners[32, 12] < owners[32, 82]
    assert min(cut for cut in cuts if cut) <= 3.5


def test_the_path_has_the_best_sum_of_scores() -> None:
    box, ink = (0, 0, 10, HEIGHT), np.zeros((HEIGHT, 10), np.uint8)
    segments = [Segment(*span, box, ink, 0.0, 0) for span in ((0, 1), (1, 2), (0, 2))]
    scores = np.full((3, 10), -9, np.float32)
    scores[[0, 1, 2], [3, 4, 8]] = -0.5, -0.5, -0.9
    lattice = Lattice(segments, [False, False], scores, np.zeros(3, np.float32))
    assert lattice.best_path(EVEN) == [2]
    assert lattice.best_path(Weights(is_digit=1, segment=1, lowness=0, cut=0, gap=0)) == [0, 1]


def test_a_piece_that_is_no_digit_is_skipped() -> None:
    box, ink = (0, 0, 10, HEIGHT), np.zeros((HEIGHT, 10), np.uint8)
    scores = np.full((1, 10), -0.1, np.float32)
    lattice = Lattice([Segment(1, 2, box, ink, 0.0, 0)], [True, False], scores, np.zeros(1, np.float32))
    assert lattice.best_path(EVEN) == [0]
