"""What a picture and its answer look like, in bins: the server counts them, and drift is a change of their shares.

A picture that shows several digits is in no bin: its features are those of the number, not of a digit.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from mnist_lightning.inference.prediction import Answer, Reading
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.normalize import NormalizedImage
from mnist_lightning.preprocessing.strokes import SUPERSAMPLING, resize, stroke_width, trim


@dataclass(frozen=True)
class Measured:
    """A picture, its strokes (h, w) at SUPERSAMPLING times MNIST's resolution, as wide as sent, and its answer."""

    image: NormalizedImage
    strokes: Bytes
    answer: Answer


@dataclass(frozen=True)
class Feature:
    """A number that each picture has, and the lower bounds of its bins; the first one has no lower end."""

    measure: Callable[[Measured], float]
    bounds: tuple[float, ...]

    def bin(self, measured: Measured) -> str:
        """The name of a picture's bin: the highest bound that its value reaches."""
        value = self.measure(measured)
        return str(max((bound for bound in self.bounds if bound <= value), default=self.bounds[0]))


FEATURES: Mapping[str, Feature] = {
    "digit": Feature(lambda one: one.answer["prediction"], tuple(range(10))),
    "confidence": Feature(lambda one: one.answer["confidence"], (0.0, 0.5, 0.8, 0.95, 0.99, 0.999)),
    "is_digit": Feature(lambda one: one.answer["is_digit"], (0.0, 0.1, 0.5, 0.9, 0.99, 0.999)),
    # Degrees by which the digit is turned in the picture.
    "rotation": Feature(lambda one: one.answer.get("rotation", 0), (-45, -30, 0, 30, 45)),
    # Share of the digit's box that is ink, which does not depend on the room around the digit.
    "ink_share": Feature(lambda one: float((one.strokes > 127).mean()), (0.0, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)),
    # In pixels of a digit that is 20 pixels large.
    "stroke_width": Feature(
        lambda one: stroke_width(one.strokes) / SUPERSAMPLING, (0.0, 1.5, 2.0, 2.4, 2.8, 3.2, 3.6, 4.5)
    ),
    # The longest side, in pixels.
    "picture_size": Feature(lambda one: one.image.side, (0, 29, 65, 129, 257, 513, 1025, 2049)),
}


def count(readings: Iterable[Reading]) -> Counter[tuple[str, str]]:
    """The pictures in each feature's bins, by the names of feature and bin."""
    measured = [_measure(reading) for reading in readings if "digits" not in reading.answer]
    return Counter((name, feature.bin(one)) for name, feature in FEATURES.items() for one in measured)


def bins() -> list[tuple[str, str]]:
    """Every feature and bin."""
    return [(name, str(bound)) for name, feature in FEATURES.items() for bound in feature.bounds]


def _measure(reading: Reading) -> Measured:
    strokes: Any = reading.image.strokes
    if strokes is None:  # the picture was in MNIST's form
        pixels = (reading.image.image * 255).astype(np.uint8)
        strokes = resize(trim(pixels), SUPERSAMPLING, cv2.INTER_CUBIC)
    return Measured(reading.image, strokes, reading.answer)
