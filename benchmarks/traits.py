"""Accuracy by regional trait: strokes that MNIST lacks, drawn by rule onto its test digits.

    .venv/bin/python -m benchmarks.traits

Prints a Markdown table and, last, one line of JSON. The rules are those of `mnist_lightning.datasets.variants`, and for
the 1, up-strokes of a third to two thirds of its height at several angles to the horizontal, straight and curved.
"""

import json
import math
import sys
from collections.abc import Callable, Mapping

import torch

from benchmarks.common import conditions, make_parser, map_batches
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.datasets import mnist
from mnist_lightning.datasets.raster import Images, uniform
from mnist_lightning.datasets.variants import (
    REGIONAL_VARIANTS,
    extreme_ink,
    fit_to_mnist_frame,
    shrink,
    up_stroke,
)
from mnist_lightning.models.archive import load_network
from mnist_lightning.models.digitnet import DigitNet

Draw = Callable[[Images], Images]  # the strokes to add


def flag(low: float, high: float) -> Draw:
    """An up-stroke to the top of the 1, at angles in degrees."""

    def draw(ones: Images) -> Images:
        count = len(ones)
        head, foot = extreme_ink(ones, 0, -1), extreme_ink(ones, 0, 1)
        angle = uniform(count, math.radians(low), math.radians(high), ones)
        length = uniform(count, 1 / 3, 2 / 3, ones) * (foot - head)[:, 1].clamp(min=8)
        return up_stroke(head, angle, length, uniform(count, -0.1, 0.1, ones), uniform(count, 1.5, 2.5, ones))

    return draw


TRAITS: Mapping[str, tuple[int, Draw | None]] = {
    "0, slashed or dotted": (0, REGIONAL_VARIANTS[0][0]),
    "1, as in MNIST": (1, None),
    "1, up-stroke at 20 to 35°": (1, flag(20, 35)),
    "1, up-stroke at 35 to 50°": (1, flag(35, 50)),
    "1, up-stroke at 50 to 70°": (1, flag(50, 70)),
    "1, up-stroke, foot or both": (1, REGIONAL_VARIANTS[1][0]),
    "2, looped": (2, REGIONAL_VARIANTS[2][0]),
    "4, closed at the top": (4, REGIONAL_VARIANTS[4][0]),
    "7, as in MNIST": (7, None),
    "7, with a bar, a serif or both": (7, REGIONAL_VARIANTS[7][0]),
    "9, as in MNIST": (9, None),
    "9, leg bent": (9, REGIONAL_VARIANTS[9][0]),
}


def main() -> int:
    """Measure every trait, and print."""
    options = make_parser(__doc__, "store", "data").parse_args()
    network = load_network(options.store / ARCHIVE)
    images, labels = mnist.load(options.data, train=False)
    print(conditions() + "\n\n| trait | accuracy, % |\n|---|---:|")
    results = {}
    for name, (digit, draw) in TRAITS.items():
        results[name] = accuracy(network, images[labels == digit].float() / 255, digit, draw)
        print(f"| {name} | {results[name]:.1f} |", flush=True)
    print("\n" + json.dumps(results))
    return 0


def accuracy(network: DigitNet, images: Images, digit: int, draw: Draw | None) -> float:
    """Percentage of images (N, 1, 28, 28) of a digit that are classified correctly after the strokes are added."""
    predictions = map_batches(network, add_strokes(images, draw)).argmax(1)
    return float(100 * (predictions == digit).double().mean())


def add_strokes(images: Images, draw: Draw | None) -> Images:
    """Images (N, 1, 28, 28) with strokes added, in MNIST's form again."""
    if draw is None:
        return images
    torch.manual_seed(0)
    smaller = shrink(images)
    return fit_to_mnist_frame(torch.maximum(smaller, draw(smaller)))


if __name__ == "__main__":
    sys.exit(main())
