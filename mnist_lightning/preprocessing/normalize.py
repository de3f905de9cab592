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
from PIL import Image

from mnist_lightning.preprocessing.components import WIDE, DigitComponents
from mnist_lightning.preprocessing.decode import Bytes, decode, decode_with_scale, image_pyramid, pixels_of_image
from mnist_lightning.preprocessing.errors import NoDigitError, TooManyDigitsError
from mnist_lightning.preprocessing.foreground import ForegroundModel, flatten_alpha, merge_equal_channels
from mnist_lightning.preprocessing.lines import measure
from mnist_lightning.preprocessing.number import Box, Number, read_number, scale_box
from mnist_lightning.preprocessing.segment import find_ink, find_ink_closely, find_small_ink
from mnist_lightning.preprocessing.strokes import (
    BOX,
    SIDE,
    SOFT_EDGE,
    SUPERSAMPLING,
    Floats,
    adjust_stroke_width,
    center,
    resize,
    scale,
    trim,
)

MIN_CROP = 2 * BOX * SUPERSAMPLING  # longest side of a digit's crop, in pixels, before its last reduction
DETECTION_SIDE = 256  # largest longest side at which the digit is searched for
MIN_SEGMENTED = 32  # longest side, in pixels, of a digit that the segmenter need not look at more closely
NUMBER_SIDE = 300  # longest side, in pixels, at which numbers are read, if the picture has it
TOUCHING = 0.55  # width over height of two digits that touch at least
MIN_LINE = 26  # pixels: the height of digits of whose ink the segmenter's first look misses nothing
MANY_MORE = 1.6  # times as many digits are found without the segmenter: more than a box adds to two
WRITING_DIGITS, WRITING_CONFIDENCE = 3, 0.6  # of a line on average, of a number that is found without the segmenter
MIN_SMALL = 3  # components of writing that is small in a picture
MIN_NUMBER_SIDE = 40  # longest side, in pixels, of a picture with room for several digits
MIN_PAPER_SIDE = 64  # longest side, in pixels, of a picture that shows more than a digit's strokes


class NormalizedImage(NamedTuple):
    """A picture in MNIST's form."""

    image: Floats  # (28, 28) floats in [0, 1], white ink on black
    digits: int  # count of digits side by side; the image shows all of them
    strokes: Bytes | None = None  # their ink at SUPERSAMPLING times MNIST's resolution; None if it was in place already
    rotation: int = 0  # degrees, clockwise, by which the digit is turned in the picture that was sent
    box: Box = (0, 0, 0, 0)  # of the strokes, in pixels of the picture
    number: Number | None = None  # what several digits say
    side: float = 0  # longest side of the picture, in pixels

    def scaled(self, factor: float) -> "NormalizedImage":
        """The image with positions in pixels of a picture that is `factor` times as large."""
        number = self.number and self.number.scaled(factor)
        return self._replace(box=scale_box(self.box, factor), number=number, side=self.side * factor)


def from_bytes(content: bytes) -> Floats:
    """Normalize a picture file to (28, 28) floats in [0, 1]. Raises BadPictureError."""
    return normalize(decode(content))


def from_image(picture: Image.Image) -> Floats:
    """Normalize a Pillow image to (28, 28) floats in [0, 1]. Raises BadPictureError."""
    return normalize(pixels_of_image(picture))


def read_picture(content: bytes) -> NormalizedImage:
    """Normalize a picture file, and read the number if it shows several digits. Raises BadPictureError."""
    decoded = decode_with_scale(content)
    return normalize_with_count(decoded.pixels).scaled(decoded.scale)


def normalize(array: Bytes) -> Floats:
    """Normalize gray, RGB or RGBA pixels to (28, 28) floats in [0, 1]. Raises NoDigitError."""
    return _normalize(array, with_number=False).image


def normalize_with_count(array: Bytes) -> NormalizedImage:
    """As `normalize`, and read the number if there are several digits. Raises NoDigitError, TooManyDigitsError."""
    return _normalize(array, with_number=True)._replace(side=max(array.shape[:2]))


def _normalize(array: Bytes, *, with_number: bool) -> NormalizedImage:
    """The image of all digits together and, if requested, their number, which takes most of the time."""
    array = merge_equal_channels(flatten_alpha(array))
    if is_in_mnist_form(array):
        return NormalizedImage(array.astype(np.float32) / np.float32(255), 1)
    levels = image_pyramid(array, DETECTION_SIDE)
    model, ink = ForegroundModel.fit(levels[-1])
    found = DigitComponents.find(ink)
    if array.shape[:2] == (SIDE, SIDE) and found.is_degraded:
        return NormalizedImage(_stretch_contrast(array), found.digits)
    image, components, segmented = _read_single(levels, model, ink, found)
    if not with_number or max(array.shape[:2]) < MIN_NUMBER_SIDE:
        return image
    if segmented is None or (found.is_clean and not model.is_uneven):
        may_be_number = found.may_be_number or components.may_be_number
        return image._replace(number=_read_plain(levels, model)) if may_be_number else image
    return image._replace(number=_read_closely(levels, model, segmented, components, found))


def _read_single(
    levels: Sequence[Bytes], model: ForegroundModel, ink: Bytes, found: DigitComponents
) -> tuple[NormalizedImage, DigitComponents, Bytes | None]:
    """The image of all digits together, their components, and the ink that the segmenter found, if it was needed."""
    if max(levels[0].shape[:2]) >= MIN_PAPER_SIDE and (not found.is_plain or model.is_uneven):
        with contextlib.suppress(NoDigitError):  # then the picture is read as it is
            return _find_on_paper(levels)
    box = _in_picture(found.box, ink, levels[0])
    return _to_mnist_form(_crop(levels, model, ink, found), found, box), found, None


def _read_plain(levels: Sequence[Bytes], model: ForegroundModel) -> Number | None:
    """The number in a picture that shows nothing besides."""
    level = next(level for level in reversed(levels) if max(level.shape[:2]) >= NUMBER_SIDE or level is levels[0])
    across, down = (whole / own for whole, own in zip(levels[0].shape[1::-1], level.shape[1::-1], strict=True))
    return read_number(model.foreground(level), scale=(across, down))


def _read_closely(
    levels: Sequence[Bytes], model: ForegroundModel, ink: Bytes, found: DigitComponents, without: DigitComponents
) -> Number | None:
    """The number in a picture by the segmenter; without it where that finds more digits.

    Args:
        levels: the picture's pyramid.
        model: of its foreground.
        ink: that the segmenter found at its first look.
        found: the components of this ink.
        without: those found without the segmenter, which sees small writing.
    """
    count, height = measure(ink)
    may_be_number = found.may_be_number
    is_small = height < MIN_LINE and max(levels[0].shape[:2]) > max(ink.shape)
    if is_small and (count >= MIN_SMALL or without.digits >= MIN_SMALL):
        ink = find_small_ink(levels)
        count, height = measure(ink)
        may_be_number = count >= MIN_SMALL
    if not (may_be_number and count):
        return None
    number = read_number(*find_ink_closely(levels[0], ink, height))
    with contextlib.suppress(TooManyDigitsError):  # of squares, say
        plain = _read_plain(levels, model)
        if plain is not None and _is_writing(plain) and plain.expected_digits > MANY_MORE * _expected_digits(number):
            return plain
    return number


def _is_writing(number: Number) -> bool:
    """Whether a number is no squares, which read as many short lines, and badly."""
    return len(number.digits) >= WRITING_DIGITS * len(number.lines) and number.line_confidence >= WRITING_CONFIDENCE


def _expected_digits(number: Number | None) -> float:
    """About how many digits of a number are right."""
    return 0.0 if number is None else number.expected_digits


def read_touching(image: NormalizedImage) -> Number | None:
    """Read digits that touch, or stand so near that they were taken for one; None if they are one after all."""
    if image.strokes is None or not TOUCHING <= image.strokes.shape[1] / image.strokes.shape[0] <= WIDE:
        return None
    left, top, width, height = image.box
    return read_number(image.strokes, (left, top), (width / image.strokes.shape[1], height / image.strokes.shape[0]))


def _to_mnist_form(crop: Bytes, found: DigitComponents, box: Box) -> NormalizedImage:
    strokes = scale(crop)
    return NormalizedImage(center(adjust_stroke_width(strokes)), found.digits, strokes, box=box)


def _find_on_paper(levels: Sequence[Bytes]) -> tuple[NormalizedImage, DigitComponents, Bytes]:
    """The image of the digit that the segmenter finds, its components, and all ink. Raises NoDigitError.

    A digit that is small in the picture is looked for once more, in the part of the picture around it.
    """
    ink = find_ink(levels)
    found = DigitComponents.find(ink)
    box = _in_picture(found.box, ink, levels[0])
    if max(found.box[2:]) < MIN_SEGMENTED and max(levels[0].shape[:2]) > max(ink.shape):
        with contextlib.suppress(NoDigitError):  # then the first look counts
            rows, columns = _around(box)
            part = levels[0][rows, columns]
            closer = find_ink(image_pyramid(part, DETECTION_SIDE))
            closer_found = DigitComponents.find(closer)
            left, top, width, height = _in_picture(closer_found.box, closer, part)
            own = (left + columns.start, top + rows.start, width, height)
            return _to_mnist_form(_cut(closer, closer_found), closer_found, own), closer_found, ink
    return _to_mnist_form(_cut(ink, found), found, box), found, ink


def _in_picture(box: Sequence[int], ink: Bytes, picture: Bytes) -> Box:
    """A box in pixels of ink (h, w) as one in pixels of the picture that the ink belongs to."""
    down, across = (length / own for length, own in zip(picture.shape[:2], ink.shape, strict=True))
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def _around(box: Box) -> tuple[slice, slice]:
    """The rows and columns of a picture around a box."""
    left, top, width, height = box
    margin = max(width, height)
    rows = slice(max(0, math.floor(top - margin)), math.ceil(top + height + margin))
    return rows, slice(max(0, math.floor(left - margin)), math.ceil(left + width + margin))


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
    upright = trim(np.asarray(cv2.warpAffine(image.strokes, matrix, (side, side)), dtype=np.uint8))
    strokes = resize(upright, BOX * SUPERSAMPLING / max(upright.shape), cv2.INTER_LINEAR)
    upright_image = center(adjust_stroke_width(strokes))
    return NormalizedImage(upright_image, image.digits, strokes, rotation, side=image.side)


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
    return trim(np.asarray(cv2.multiply(ink, soft), dtype=np.uint8))


def _cut(ink: Bytes, found: DigitComponents) -> Bytes:
    """The digit `found` in the ink (h, w), cropped to its box."""
    left, top, width, height = found.box
    window = slice(top, top + height), slice(left, left + width)
    return np.asarray(cv2.multiply(ink[window], cv2.dilate(found.mask[window], SOFT_EDGE)), dtype=np.uint8)
