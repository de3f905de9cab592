"""Separate the digits' ink from squares, rules, boxes and shadows, by the network of `models.segmenter`.

It takes longer than the rest of the preprocessing together, and simple pictures do not need it.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from mnist_lightning.common.engine import load_shipped
from mnist_lightning.preprocessing.decode import Bytes

PICTURE_SIDE = 192  # pixels: the network's input
SHIPPED = Path(__file__).with_name("segmenter.onnx")  # made by mnist_lightning.train_segmenter
CLOSER_SIDE = 512  # pixels, of a picture with small digits
FOUND = 127  # of 255: ink that makes a part of the picture worth a closer look
TILE_DIGIT = 60  # pixels: the height of digits in the network's input at which it finds their ink best
TILE_MARGIN = 0.4  # of the digits' height, around their ink
OVERLAP, MAX_TILES = 32, 16  # pixels; each tile takes as long as a first look
PICTURE_INPUT, INK_OUTPUT = "picture", "ink"


def find_ink(levels: Sequence[Bytes]) -> Bytes:
    """The digits' ink in a picture, (h, w), 0 to 255, whose longest side is PICTURE_SIDE.

    Args:
        levels: the picture's pyramid, gray or RGB, the largest level first.

    Raises RuntimeError as `load_shipped`.
    """
    return _find_by_tiles(_scale(levels, PICTURE_SIDE))


class CloseUp(NamedTuple):
    """The ink in a part of a picture, at another scale."""

    ink: Bytes  # (h, w), 0 to 255
    offset: tuple[float, float]  # of the part, in pixels of the picture, as x, y
    scale: tuple[float, float]  # pixels of the picture for each pixel of ink, as x, y


def find_small_ink(levels: Sequence[Bytes]) -> Bytes:
    """As `find_ink`, with tiles, of the longest side CLOSER_SIDE at most: for digits that are small in the picture."""
    return _find_by_tiles(_scale(levels, min(CLOSER_SIDE, max(levels[0].shape[:2]))))


def _scale(levels: Sequence[Bytes], side: int) -> Bytes:
    """The picture in color, with this longest side in pixels."""
    level = next((level for level in reversed(levels) if max(level.shape[:2]) >= side), levels[0])
    factor = side / max(level.shape[:2])
    size = [max(1, round(length * factor)) for length in level.shape[1::-1]]
    scaled = cv2.resize(level, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    return _in_color(np.asarray(scaled, dtype=np.uint8))


def find_ink_closely(picture: Bytes, first: Bytes, height: float) -> CloseUp:
    """The digits' ink in the part of a picture that shows any, by tiles in which digits are TILE_DIGIT pixels high.

    Args:
        picture: gray or RGB.
        first: its ink, as `find_ink` or `find_small_ink` returns it.
        height: of its digits, in pixels of `first`.

    Raises RuntimeError as `load_shipped`.
    """
    factor = max(picture.shape[:2]) / max(first.shape)
    left, top, width, down = (value * factor for value in cv2.boundingRect((first > FOUND).astype(np.uint8)))
    margin = TILE_MARGIN * height * factor
    zoom = TILE_DIGIT / (height * factor)
    spans = [
        _span(start - margin, start + length + margin, PICTURE_SIDE / zoom, most)
        for start, length, most in ((left, width, picture.shape[1]), (top, down, picture.shape[0]))
    ]
    columns, rows = spans
    part = picture[rows, columns]
    tiles = math.prod(length * zoom / (PICTURE_SIDE - OVERLAP) for length in part.shape[:2])
    zoom *= min(1.0, math.sqrt(MAX_TILES / max(tiles, 1.0)))
    size = [max(1, round(length * zoom)) for length in part.shape[1::-1]]
    scaled = cv2.resize(part, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    ink = _find_by_tiles(_in_color(np.asarray(scaled, dtype=np.uint8)))
    scale = (part.shape[1] / size[0], part.shape[0] / size[1])
    return CloseUp(ink, (float(columns.start), float(rows.start)), scale)


def _span(start: float, end: float, least: float, most: int) -> slice:
    """Pixels from start to end, at least so many, as far as a picture of `most` pixels has them."""
    missing = max(0.0, least - (end - start)) / 2
    return slice(max(0, math.floor(start - missing)), min(most, math.ceil(end + missing)))


def _find_by_tiles(colors: Bytes) -> Bytes:
    height, width = colors.shape[:2]
    ink = np.zeros((height, width), np.uint8)
    for top in _starts(height):
        for left in _starts(width):
            tile = colors[top : top + PICTURE_SIDE, left : left + PICTURE_SIDE]
            padded = pad_to_square(np.ascontiguousarray(tile), PICTURE_SIDE, cv2.BORDER_REPLICATE)
            (found,) = load_shipped(SHIPPED).run([INK_OUTPUT], {PICTURE_INPUT: padded})
            part = ink[top : top + PICTURE_SIDE, left : left + PICTURE_SIDE]
            np.maximum(part, found[: part.shape[0], : part.shape[1]], out=part)
    return ink


def _starts(length: int) -> list[int]:
    """Where tiles that overlap by OVERLAP pixels or more begin."""
    count = max(1, math.ceil((length - OVERLAP) / (PICTURE_SIDE - OVERLAP)))
    return [round(start) for start in np.linspace(0, max(0, length - PICTURE_SIDE), count)]


def _in_color(image: Bytes) -> Bytes:
    return image if image.ndim == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def pad_to_square(image: Bytes, side: int, border: int) -> Bytes:
    """Pad an image at the right and at the bottom, by one of OpenCV's borders."""
    height, width = image.shape[:2]
    return np.asarray(cv2.copyMakeBorder(image, 0, side - height, 0, side - width, border), dtype=np.uint8)
