"""Lines of digits are composed reproducibly, with what they say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mnist_lightning.datasets import mnist, numbers
from mnist_lightning.datasets.numbers import Glyphs, compose


@pytest.fixture(scope="module")
def glyphs(mnist_folder: Path) -> Glyphs:
    images, labels = mnist.load(mnist_folder, train=False)
    return Glyphs.build(images[:600], labels[:600], 0)


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
