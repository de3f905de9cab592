"""The preprocessing with a step left out: each of them makes a difference to some picture, and is back afterwards."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import damage, presentations
from benchmarks.ablation import STEPS, without
from mnist_lightning.datasets import mnist
from mnist_lightning.preprocessing.decode import Bytes, decode

EVERYTHING = "everything"


@pytest.fixture(scope="module")
def sheets(mnist_folder: Path) -> list[Bytes]:
    """Two digits as MNIST has them, presented and damaged in every way, and with a hair line on a large canvas."""
    images = mnist.load(mnist_folder, train=False)[0][:2, 0].numpy()
    made = [decode(kind(image, np.random.default_rng(1))) for image in images for kind in presentations.KINDS.values()]
    made += [kind(image, np.random.default_rng(1)) for image in images for kind in damage.KINDS.values()]
    hair = np.full((1000, 1000), 255, np.uint8)
    cv2.line(hair, (150, 200), (850, 200), 0, 1)
    cv2.line(hair, (850, 200), (400, 900), 0, 1)
    return [*images, *made, hair]


def seen(step: str, sheets: list[Bytes]) -> list[Bytes]:
    with without(step) as normalize:
        return [(255 * normalize(sheet)).astype(np.uint8) for sheet in sheets]


@pytest.mark.parametrize("step", [step for step in STEPS if step != EVERYTHING])
def test_a_step_left_out_is_seen_and_comes_back(step: str, sheets: list[Bytes]) -> None:
    whole = seen(EVERYTHING, sheets)
    assert any(not np.array_equal(one, other) for one, other in zip(whole, seen(step, sheets), strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(whole, seen(EVERYTHING, sheets), strict=True))
