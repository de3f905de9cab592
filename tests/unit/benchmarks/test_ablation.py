"""The preprocessing variants of the ablation: each changes the result for some picture, and only inside its block."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.ablation import EVERYTHING, VARIANTS, preprocessing_variant
from mnist_lightning.datasets import mnist
from mnist_lightning.evaluation.corruptions import CORRUPTIONS
from mnist_lightning.evaluation.presentations import PRESENTATIONS
from mnist_lightning.preprocessing.decode import Bytes, decode


@pytest.fixture(scope="module")
def pictures(mnist_folder: Path) -> list[Bytes]:
    """Two of MNIST's digits, also in every presentation and corruption, and a hairline on a large canvas."""
    digits = mnist.load(mnist_folder, train=False)[0][:2, 0].numpy()
    presented = [decode(present(digit, rng())) for digit in digits for present in PRESENTATIONS.values()]
    corrupted = [corrupt(digit, rng()) for digit in digits for corrupt in CORRUPTIONS.values()]
    hairline = np.full((1000, 1000), 255, np.uint8)
    cv2.line(hairline, (150, 200), (850, 200), 0, 1)
    cv2.line(hairline, (850, 200), (400, 900), 0, 1)
    return [*digits, *presented, *corrupted, hairline]


@pytest.fixture(scope="module")
def default(pictures: list[Bytes]) -> list[Bytes]:
    """The pictures after the whole preprocessing."""
    return normalize_all(EVERYTHING, pictures)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def normalize_all(variant: str, pictures: Sequence[Bytes]) -> list[Bytes]:
    with preprocessing_variant(variant) as normalize:
        return [(255 * normalize(picture).image).astype(np.uint8) for picture in pictures]


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant != EVERYTHING])
def test_a_variant_changes_a_result_inside_its_block_only(
    variant: str, pictures: list[Bytes], default: list[Bytes]
) -> None:
    results = zip(pictures, default, normalize_all(variant, pictures), strict=True)
    changed = [(picture, expected) for picture, expected, result in results if not np.array_equal(expected, result)]
    assert changed
    restored = normalize_all(EVERYTHING, [picture for picture, _ in changed])
    assert all(map(np.array_equal, [expected for _, expected in changed], restored))
