"""Draw the example pictures of the drawing page, mnist_lightning/web/examples/, from MNIST's test digits.

    .venv/bin/python -m benchmarks.examples

Each file name starts with the digit. Prints the names.
"""

import sys
from collections.abc import Callable, Mapping

import cv2
import numpy as np
import torch

from benchmarks.common import make_parser
from benchmarks.traits import TRAITS, add_strokes
from mnist_lightning.common.files import write_atomic
from mnist_lightning.datasets import mnist
from mnist_lightning.evaluation import presentations
from mnist_lightning.evaluation.presentations import Generator, Image, encode, paint, rotate, strokes
from mnist_lightning.preprocessing.decode import decode
from mnist_lightning.web.app import EXAMPLES

SIDE = 240  # pixels
Draw = Callable[[Image, Generator], bytes]


def with_trait(name: str) -> Draw:
    """Draws a digit with the strokes of a trait."""

    def draw(digit: Image, rng: Generator) -> bytes:
        images = torch.from_numpy(digit).float()[None, None] / 255
        with_strokes = (255 * add_strokes(images, TRAITS[name][1])).byte().numpy()[0, 0]
        return presentations.sketchpad(with_strokes, rng)

    return draw


def leaning(digit: Image, rng: Generator) -> bytes:
    """Turned clockwise by 35 degrees."""
    return encode(paint(rotate(strokes(digit, 180), -35)))


# The kind of picture, after its digit, and which of the test set's images of that digit it is made of.
EXAMPLE_PICTURES: Mapping[str, tuple[int, int, Draw]] = {
    "squared paper": (3, 2, presentations.skewed_squares),
    "ruled paper": (5, 3, presentations.ruled),
    "underlined": (2, 4, presentations.underlined),
    "boxed": (8, 1, presentations.boxed),
    "circled": (6, 2, presentations.circled),
    "shadow": (0, 5, presentations.shadow),
    "blackboard": (4, 3, presentations.blackboard),
    "up-stroke": (1, 5, with_trait("1, up-stroke at 35 to 50°")),
    "crossbar": (7, 3, with_trait("7, with a bar, a serif or both")),
    "turned": (9, 4, leaning),
}


def main() -> int:
    """Write the files."""
    options = make_parser(__doc__, "data").parse_args()
    images, labels = mnist.load(options.data, train=False)
    EXAMPLES.mkdir(exist_ok=True)
    for seed, (kind, (digit, index, draw)) in enumerate(EXAMPLE_PICTURES.items()):
        picture = images[labels == digit][index, 0].numpy()
        path = EXAMPLES / f"{digit}-{kind.replace(' ', '-')}.jpg"
        write_atomic(path, _shrink(draw(picture, np.random.default_rng(seed))))
        print(path.name)
    return 0


def _shrink(content: bytes) -> bytes:
    small = cv2.resize(decode(content), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return encode(np.asarray(small, dtype=np.uint8), "JPEG", quality=80)


if __name__ == "__main__":
    sys.exit(main())
