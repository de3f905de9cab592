"""Bring any picture of a digit to MNIST's form: (28, 28), white ink on black, 20 pixels, centered by mass.

The form is that of LeCun, Cortes and Burges, "The MNIST database of handwritten digits": the digit's box scaled
to 20×20 with its aspect ratio kept, its center of mass in the middle of 28×28.
"""

import contextlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_lightning.preprocessing.components import WEAK, DigitComponents
from mnist_lightning.preprocessing.decode import Bytes, decode, image_pyramid, pixels_of_image
from mnist_lightning.preprocessing.errors import NoDigitError
from mnist_lightning.preprocessing.foreground import NO_INK, ForegroundModel, flatten_alpha, merge_equal_channels
from mnist_lightning.preprocessing.segment import find_ink

Floats = NDArray[np.float32]

SIDE, BOX = 28, 20  # pixels: MNIST's image, and the digit's box in it
SUPERSAMPLING = 4  # strokes are measured and corrected at this multiple of MNIST's resolution
MIN_CROP = 2 * BOX * SUPERSAMPLING  # longest side of a digit's crop, in pixels, before its last reduction
MIN_STROKE, MAX_STROKE = 1.9, 3.6  # MNIST's pixels: the 20th and 95th percentile of its training digits
SOFT_EDGE = np.ones((3, 3), np.uint8)  # dilates a mask of strokes by their soft edge
DETECTION_SIDE = 256  # largest longest side at which the digit is searched for
MIN_SEGMENTED = 32  # longest side, in pixels, of a digit that the segmenter need not look at more closely
MIN_PAPER_SIDE = 64  # longest side, in pixels, of a picture that shows more than a digit's strokes


class NormalizedImage(NamedTuple):
    """A picture in MNIST's form."""

    image: Floats  # (28, 28) floats in [0, 1], white ink on black
    digits: int  # count of digits side by side; the image shows all of them
    strokes: Bytes | None = None  # their ink at SUPERSAMPLING times MNIST's resolution; None if it was in place already
    rotation: int = 0  # degrees, clockwise, by which the digit is turned in the picture that was sent


def from_bytes(content: bytes) -> Floats:
    """Normalize a picture file to (28, 28) floats in [0, 1]. Raises BadPictureError."""
    return normalize(decode(content))


def from_image(picture: Image.Image) -> Floats:
    """Normalize a Pillow image to (28, 28) floats in [0, 1]. Raises BadPictureError."""
    return normalize(pixels_of_image(picture))


def normalize(array: Bytes) -> Floats:
    """Normalize gray, RGB or RGBA pixels to (28, 28) floats in [0, 1]. Raises NoDigitError."""
    return normalize_with_count(array).image


def normalize_with_count(array: Bytes) -> NormalizedImage:
    """As `normalize`, and count the digits in the picture. Raises NoDigitError."""
    array = merge_equal_channels(flatten_alpha(array))
    if is_in_mnist_form(array):
        return NormalizedImage(array.astype(np.float32) / np.float32(255), 1)
    levels = image_pyramid(array, DETECTION_SIDE)
    model, ink = ForegroundModel.fit(levels[-1])
    found = DigitComponents.find(ink)
    if array.shape[:2] == (SIDE, SIDE) and found.is_degraded:
        return NormalizedImage(_stretch_contrast(array), found.digits)
    if max(array.shape[:2]) >= MIN_PAPER_SIDE and (not found.is_plain or model.is_uneven):
        with contextlib.suppress(NoDigitError):  # then the picture is read as it is
            return _to_mnist_form(*_find_on_paper(levels))
    return _to_mnist_form(_crop(levels, model, ink, found), found)


def _to_mnist_form(crop: Bytes, found: DigitComponents) -> NormalizedImage:
    strokes = _scale(crop)
    return NormalizedImage(_center(_adjust_stroke_width(strokes)), found.digits, strokes)


def _find_on_paper(levels: Sequence[Bytes]) -> tuple[Bytes, DigitComponents]:
    """The crop of the digit that the segmenter finds, and its components. Raises NoDigitError.

    A digit that is small in the picture is looked for once more, in the part of the picture around it.
    """
    ink = find_ink(levels)
    found = DigitComponents.find(ink)
    if max(found.box[2:]) < MIN_SEGMENTED and max(levels[0].shape[:2]) > max(ink.shape):
        with contextlib.suppress(NoDigitError):  # then the first look counts
            closer = find_ink(image_pyramid(_around(levels[0], found.box, ink.shape), DETECTION_SIDE))
            closer_found = DigitComponents.find(closer)
            return _cut(closer, closer_found), closer_found
    return _cut(ink, found), found


def _around(array: Bytes, box: Sequence[int], shape: tuple[int, ...]) -> Bytes:
    """The part of a picture around a box, which is in pixels of the same picture scaled to another shape (h, w)."""
    down, across = (length / scaled for length, scaled in zip(array.shape[:2], shape, strict=True))
    left, top, width, height = box[0] * across, box[1] * down, box[2] * across, box[3] * down
    margin = max(width, height)
    rows = slice(max(0, math.floor(top - margin)), math.ceil(top + height + margin))
    return array[rows, max(0, math.floor(left - margin)) : math.ceil(left + width + margin)]


def turn(image: NormalizedImage, rotation: int) -> NormalizedImage:
    """Turn a picture upright whose digit is turned by `rotation` degrees, clockwise; nothing without `strokes`.

    Raises NoDigitError if turning leaves no ink, as may happen to strokes that are thin and faint.
    """
    if image.strokes is None or not rotation:
        return image
    height, width = image.strokes.shape
    side = math.ceil(math.hypot(height, width))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), rotation, 1)  # counterclockwise
    matrix[:, 2] += (side - width) / 2, (side - height) / 2
    upright = _trim(np.asarray(cv2.warpAffine(image.strokes, matrix, (side, side)), dtype=np.uint8))
    strokes = _resize(upright, BOX * SUPERSAMPLING / max(upright.shape), cv2.INTER_LINEAR)
    return NormalizedImage(_center(_adjust_stroke_width(strokes)), image.digits, strokes, rotation)


def _stretch_contrast(array: Bytes) -> Floats:
    """Stretch the contrast of a degraded image of MNIST's size, and invert dark ink.

    Its digit is in place already; a line across it or a stripe beside it would mislead the search for its box.
    """
    gray = (array if array.ndim == 2 else array.mean(axis=2)).astype(np.float32)
    gray = (gray - gray.min()) / max(float(np.ptp(gray)), 1.0)
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    dark_ink = np.median(border) > 0.5 and np.median(gray[7:21, 7:21]) > 0.5
    return np.asarray(1 - gray if dark_ink else gray, dtype=np.float32)


def is_in_mnist_form(array: Bytes) -> bool:
    """Whether the pixels have MNIST's form already: a digit that fills 20 pixels around its center of mass."""
    if array.shape != (SIDE, SIDE) or array.max() < 200:
        return False
    rows, columns = np.flatnonzero(array.any(axis=1)), np.flatnonzero(array.any(axis=0))
    longest = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    weights = array.sum(axis=1, dtype=np.float64), array.sum(axis=0, dtype=np.float64)
    centers = [float(weight @ np.arange(SIDE) / weight.sum()) for weight in weights]
    return longest in (BOX - 1, BOX) and all(abs(center - SIDE / 2) <= 0.51 for center in centers)


def _crop(levels: Sequence[Bytes], model: ForegroundModel, ink: Bytes, found: DigitComponents) -> Bytes:
    """Crop the digit's ink to its box, at the smallest level of the pyramid that is at least MIN_CROP large.

    `ink` (h, w) and the digit `found` in it belong to the last of the `levels`, each of which is twice as large as the
    next.
    """
    width, height = found.box[2:]
    larger = min(len(levels) - 1, max(0, math.ceil(math.log2(MIN_CROP / max(width, height)))))
    if not larger:
        return _cut(ink, found)
    soft = cv2.dilate(found.mask, SOFT_EDGE)
    left, top, width, height = cv2.boundingRect(soft)
    rows, columns = (slice(first << larger, (first + n) << larger) for first, n in ((top, height), (left, width)))
    ink = model.foreground(levels[-1 - larger], (rows, columns))
    soft = cv2.resize(soft[top : top + height, left : left + width], ink.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return _trim(np.asarray(cv2.multiply(ink, soft), dtype=np.uint8))


def _cut(ink: Bytes, found: DigitComponents) -> Bytes:
    """The digit `found` in the ink (h, w), cropped to its box."""
    left, top, width, height = found.box
    window = slice(top, top + height), slice(left, left + width)
    return np.asarray(cv2.multiply(ink[window], cv2.dilate(found.mask[window], SOFT_EDGE)), dtype=np.uint8)


def _trim(ink: Bytes) -> Bytes:
    """Remove empty rows and columns at the sides."""
    _, solid = cv2.threshold(ink, WEAK * 255, 1, cv2.THRESH_BINARY)
    left, top, width, height = cv2.boundingRect(solid)
    return ink[top : top + height, left : left + width] if width else ink


def _scale(ink: Bytes) -> Bytes:
    """Scale the longest side to 80 pixels."""
    factor = BOX * SUPERSAMPLING / max(ink.shape)
    return reduce(ink, factor) if factor < 1 else _resize(ink, factor, cv2.INTER_CUBIC)


def reduce(ink: Bytes, factor: float) -> Bytes:
    """Scale ink by a factor below 1; strokes thinner than a pixel of the result are dilated first."""
    if stroke_width(ink) < 1 / factor:
        ink = np.asarray(cv2.dilate(ink, np.ones((round(1 / factor),) * 2, np.uint8)), dtype=np.uint8)
    return _resize(ink, factor, cv2.INTER_AREA)


def _resize(ink: Bytes, factor: float, method: int) -> Bytes:
    size = (max(1, round(ink.shape[1] * factor)), max(1, round(ink.shape[0] * factor)))
    return np.asarray(cv2.resize(ink, size, interpolation=method), dtype=np.uint8)


def _adjust_stroke_width(ink: Bytes) -> Bytes:
    """Bring strokes to a width within MNIST's range, and the longest side to 80 pixels."""
    change = _missing_width(ink, SUPERSAMPLING)
    if not change:
        return ink
    padded = cv2.copyMakeBorder(ink, *(max(change, 0),) * 4, cv2.BORDER_CONSTANT)
    ink = _trim(_change_width(np.asarray(padded, dtype=np.uint8), change))
    return _resize(ink, BOX * SUPERSAMPLING / max(ink.shape), cv2.INTER_LINEAR)


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


def _center(ink: Bytes) -> Floats:
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
