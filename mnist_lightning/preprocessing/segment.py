"""Separate the digits' ink from squares, rules, boxes and shadows, by the network of `models.segmenter`.

It takes longer than the rest of the preprocessing together, and simple pictures do not need it.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from mnist_lightning.common.engine import load_session
from mnist_lightning.preprocessing.decode import Bytes

PICTURE_SIDE = 192  # pixels: the network's input
SHIPPED = Path(__file__).with_name("segmenter.onnx")  # made by mnist_lightning.train_segmenter
PICTURE_INPUT, INK_OUTPUT = "picture", "ink"


@functools.cache
def load() -> onnxruntime.InferenceSession:
    """The network. Raises RuntimeError if its file is missing or damaged."""
    try:
        content = SHIPPED.read_bytes()
    except OSError as error:
        raise RuntimeError(f"{SHIPPED} cannot be read: {error}; install the package again") from error
    return load_session(content, SHIPPED.name)


def find_ink(levels: Sequence[Bytes]) -> Bytes:
    """The digits' ink in a picture, (h, w), 0 to 255, whose longest side is PICTURE_SIDE.

    Args:
        levels: the picture's pyramid, gray or RGB, the largest level first.

    Raises RuntimeError as `load`.
    """
    level = next((level for level in reversed(levels) if max(level.shape[:2]) >= PICTURE_SIDE), levels[0])
    factor = PICTURE_SIDE / max(level.shape[:2])
    size = [max(1, round(length * factor)) for length in level.shape[1::-1]]
    small = cv2.resize(level, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    colors = small if small.ndim == 3 else cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)
    padded = pad_to_square(np.asarray(colors, dtype=np.uint8), PICTURE_SIDE, cv2.BORDER_REPLICATE)
    (ink,) = load().run([INK_OUTPUT], {PICTURE_INPUT: padded})
    return np.ascontiguousarray(ink[: size[1], : size[0]], dtype=np.uint8)


def pad_to_square(image: Bytes, side: int, border: int) -> Bytes:
    """Pad an image at the right and at the bottom, by one of OpenCV's borders."""
    height, width = image.shape[:2]
    return np.asarray(cv2.copyMakeBorder(image, 0, side - height, 0, side - width, border), dtype=np.uint8)
