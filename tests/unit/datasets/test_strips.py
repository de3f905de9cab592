"""Strips for the line reader are composed reproducibly, and change without losing their digits."""

from pathlib import Path

import numpy as np
import pytest

from mnist_lightning.datasets import mnist, strips
from mnist_lightning.datasets.numbers import MAX_DIGITS, NOT_A_DIGIT, Glyphs
from mnist_lightning.datasets.strips import Distorted, LineSample, distort, samples
from mnist_lightning.preprocessing import line_reader
from mnist_lightning.preprocessing.lines import STRIP_HEIGHT


@pytest.fixture(scope="module")
def glyphs(mnist_folder: Path) -> Glyphs:
    images, labels = mnist.load(mnist_folder, train=False)
    return Glyphs.build(images[:600], labels[:600], 0)


@pytest.fixture(scope="module")
def lines(glyphs: Glyphs) -> list[LineSample]:
    return samples(glyphs, 200, 1)


def test_the_same_seed_gives_the_same_lines(glyphs: Glyphs, lines: list[LineSample]) -> None:
    again, other = (samples(glyphs, 30, seed) for seed in (1, 2))
    assert [(line.strip.tolist(), line.classes) for line in again] == [
        (line.strip.tolist(), line.classes) for line in lines[:30]
    ]
    assert [line.classes for line in again] != [line.classes for line in other]


def test_lines_are_of_all_lengths_and_classes(lines: list[LineSample]) -> None:
    assert {len(line.classes) for line in lines} == set(range(1, MAX_DIGITS + 1))
    assert {one for line in lines for one in line.classes} == set(range(NOT_A_DIGIT + 1))
    assert all(line.strip.shape[0] == STRIP_HEIGHT and line.strip.max() > 127 for line in lines)


def test_a_changed_strip_keeps_its_height_and_ink(lines: list[LineSample]) -> None:
    rng = np.random.default_rng(0)
    for line in lines:
        made = distort(line.strip, rng)
        assert made.shape[0] == STRIP_HEIGHT
        assert abs(np.log(made.shape[1] / line.strip.shape[1])) <= strips.STRETCH + 0.1
        assert 0.35 < made.sum() / line.strip.sum() < 2.5


def test_a_changed_strip_still_says_what_it_said(lines: list[LineSample]) -> None:
    def labels(some: list[LineSample]) -> list[list[int]]:
        return [[symbol.label - 1 for symbol in one.symbols] for one in line_reader.read([s.strip for s in some])]

    rng = np.random.default_rng(0)
    easy = [line for line, read in zip(lines, labels(lines), strict=True) if read == line.classes]
    changed = [LineSample(distort(line.strip, rng), line.classes) for line in easy]
    kept = np.mean([read == line.classes for line, read in zip(changed, labels(changed), strict=True)])
    assert kept > 0.85


def test_lines_change_anew_each_time(lines: list[LineSample]) -> None:
    changing = Distorted(lines, np.random.default_rng(0))
    assert len(changing) == len(lines)
    first, second = ([changing[place] for place in range(40)] for _ in range(2))
    assert (
        [line.classes for line in first] == [line.classes for line in second] == [line.classes for line in lines[:40]]
    )
    differ = [not np.array_equal(one.strip, other.strip) for one, other in zip(first, second, strict=True)]
    assert np.mean(differ) > 0.8
