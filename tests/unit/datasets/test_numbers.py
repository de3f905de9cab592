"""Lines of digits are composed reproducibly, with what they say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mnist_lightning.datasets import mnist, numbers
from mnist_lightning.datasets.numbers import MAX_DIGITS, NOT_A_DIGIT, Glyphs, compose, samples
from mnist_lightning.preprocessing.lines import STRIP_HEIGHT


@pytest.fixture(scope="module")
def glyphs(mnist_folder: Path) -> Glyphs:
    images, labels = mnist.load(mnist_folder, train=False)
    return Glyphs.build(images[:600], labels[:600], 0)


def test_the_same_seed_gives_the_same_lines(glyphs: Glyphs) -> None:
    first, second, other = (samples(glyphs, 30, seed) for seed in (1, 1, 2))
    assert [(line.strip.tolist(), line.classes) for line in first] == [
        (line.strip.tolist(), line.classes) for line in second
    ]
    assert [line.classes for line in first] != [line.classes for line in other]


def test_lines_are_of_all_lengths_and_classes(glyphs: Glyphs) -> None:
    lines = samples(glyphs, 400, 0)
    assert {len(line.classes) for line in lines} == set(range(1, MAX_DIGITS + 1))
    assert {one for line in lines for one in line.classes} == set(range(NOT_A_DIGIT + 1))
    assert all(line.strip.shape[0] == STRIP_HEIGHT and line.strip.max() > 127 for line in lines)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_line_has_as_many_digits_as_asked_for_from_left_to_right(count: int, glyphs: Glyphs) -> None:
    for seed in range(20):
        made = compose(glyphs, np.random.default_rng(seed), count)
        assert len(made.classes) == len(made.centers) == count
        assert [x for x, _ in made.centers] == sorted(x for x, _ in made.centers)
        height, width = made.ink.shape
        assert all(0 <= x < width and 0 <= y < height for x, y in made.centers)


def test_glyphs_have_variants_of_digits(mnist_folder: Path) -> None:
    images, labels = mnist.load(mnist_folder, train=False)
    made = Glyphs.build(images[:600], labels[:600], 0)
    changed = (torch.from_numpy(made.digits) != images[:600, 0]).flatten(1).any(1).float().mean()
    assert 0.05 < changed < 0.6
    assert made.labels.tolist() == labels[:600].tolist()
    assert len(made.writing) == len(numbers.WRITING) * numbers.WRITING_PER_KIND
