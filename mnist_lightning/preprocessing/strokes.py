"""Ink of strokes -> MNIST's form: scale, width of the strokes, and center of mass."""

import cv2
import numpy as np
from numpy.typing import NDArray

from mnist_lightning.preprocessing.components import WEAK
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.errors import NoDigitError
from mnist_lightning.preprocessing.foreground import NO_INK

Floats = NDArray[np.float32]

SIDE, BOX = 28, 20  # pixels: MNIST's image, and the digit's box in it
SUPERSAMPLING = 4  # strokes are measured and corrected at this multiple of MNIST's resolution
MIN_STROKE, MAX_STROKE = 1.9, 3.6  # MNIST's pixels: the 20th and 95th percentile of its training digits
SOFT_EDGE = np.ones((3, 3), np.uint8)  # dilates a mask of strokes by their soft edge


def to_mnist_form(crop: Bytes) -> Floats:
    """Bring a digit's ink, cropped to its box, to (28, 28) floats in [0, 1]. Raises NoDigitError."""
    return center(adjust_stroke_width(scale(crop)))


def trim(ink: Bytes) -> Bytes:
    """Remove empty rows and columns at the sides."""
    _, solid = cv2.threshold(ink, WEAK * 255, 1, cv2.THRESH_BINARY)
    left, top, width, height = cv2.boundingRect(solid)
    return ink[top : top + height, left : left + width] if width else ink


def scale(ink: Bytes) -> Bytes:
    """Scale the longest side to 80 pixels."""
    factor = BOX * SUPERSAMPLING / max(ink.shape)
    return reduce(ink, factor) if factor < 1 else resize(ink, factor, cv2.INTER_CUBIC)


def reduce(ink: Bytes, factor: float) -> Bytes:
    """Scale ink by a factor below 1; strokes thinner than a pixel of the result are dilated first."""
    if stroke_width(ink) < 1 / factor:
        ink = np.asarray(cv2.dilate(ink, np.ones((round(1 / factor),) * 2, np.uint8)), dtype=np.uint8)
    return resize(ink, factor, cv2.INTER_AREA)


def resize(ink: Bytes, factor: float, method: int) -> Bytes:
    size = (max(1, round(ink.shape[1] * factor)), max(1, round(ink.shape[0] * factor)))
    return np.asarray(cv2.resize(ink, size, interpolation=method), dtype=np.uint8)


def adjust_stroke_width(ink: Bytes) -> Bytes:
    """Bring strokes to a width within MNIST's range, and the longest side to 80 pixels."""
    change = _missing_width(ink, SUPERSAMPLING)
    if not change:
        return ink
    padded = cv2.copyMakeBorder(ink, *(max(change, 0),) * 4, cv2.BORDER_CONSTANT)
    ink = trim(_change_width(np.asarray(padded, dtype=np.uint8), change))
    return resize(ink, BOX * SUPERSAMPLING / max(ink.shape), cv2.INTER_LINEAR)


def fit_stroke_width(ink: Bytes, supersampling: int) -> Bytes:
    """Bring strokes thinner or thicker than nearly all of MNIST's to the nearest width within its range.

    Args:
        ink: (h, w), 0 to 255, with room around the strokes.
        supersampling: its pixels for each of MNIST's.
    """
    change = _missing_width(ink, supersampling)
    return _change_width(ink, change) if change else ink


def _missing_width(ink: Bytes, supersampling: int) -> int:
    """By how many pixels strokes are too thin, or, negative, too thick."""
    width = stroke_width(ink) / supersampling
    return round((float(np.clip(width, MIN_STROKE, MAX_STROKE)) - width) * supersampling)


def _change_width(ink: Bytes, change: int) -> Bytes:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (abs(change) + 1,) * 2)
    if change > 0:
        return np.asarray(cv2.dilate(ink, kernel), dtype=np.uint8)
    return np.asarray(cv2.erode(ink, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0), dtype=np.uint8)


def stroke_width(ink: Bytes) -> float:
    """The mean stroke width in pixels of ink (h, w), 0 to 255: twice the ink's area over the length of its outline."""
    _, mask = cv2.threshold(ink, 127, 1, cv2.THRESH_BINARY)
    outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    length = sum(cv2.arcLength(outline, True) for outline in outlines)
    return 2 * cv2.countNonZero(mask) / max(length, 1.0)


def center(ink: Bytes) -> Floats:
    """Place ink of at most 80×80 in (28, 28) floats in [0, 1], centered by mass. Raises NoDigitError."""
    moments = cv2.moments(ink)
    if moments["m00"] == 0:
        raise NoDigitError(NO_INK)
    middle, room = (SIDE / 2 + 0.5) * SUPERSAMPLING - 0.5, SIDE * SUPERSAMPLING  # pixel 14 of 0 to 27, as in MNIST
    left, top = middle - moments["m10"] / moments["m00"], middle - moments["m01"] / moments["m00"]
    left, top = (min(max(round(at), 0), room - n) for at, n in ((left, ink.shape[1]), (top, ink.shape[0])))
    around = (top, room - top - ink.shape[0], left, room - left - ink.shape[1])
    canvas = cv2.copyMakeBorder(ink, *around, cv2.BORDER_CONSTANT)
    small = cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.divide(small, np.float32(255), dtype=np.float32)
