"""Any picture of one digit -> (28, 28) as MNIST drew its digits: white ink on black, 20 pixels, centred by mass.

The form is that of LeCun, Cortes and Burges, "The MNIST database of handwritten digits": the digit's box scaled
to 20×20 with its aspect kept, its centre of mass in the middle of 28×28.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_lightning.preprocessing.components import FAINT, Strokes
from mnist_lightning.preprocessing.decode import BadPictureError, Bytes, NoDigitError, decode, halvings, pixels
from mnist_lightning.preprocessing.foreground import NO_INK, Pen, without_alpha

__all__ = ["BadPictureError", "NoDigitError", "Seen", "from_bytes", "look", "normalise", "to_mnist"]

Floats = NDArray[np.float32]

SIDE, BOX = 28, 20  # MNIST's picture and the digit's box in it, in pixels
FINE = 4  # strokes are measured and mended at four times MNIST's resolution
ENOUGH = 2 * BOX * FINE  # longest side of a digit, in pixels, that leaves a reduction of two to come
STROKE_THIN, STROKE_THICK = 1.9, 3.6  # 20 % and 95 % of MNIST's training digits, in MNIST's pixels
LOOK = 256  # longest side, or a half of it, at which the digit is looked for


class Seen(NamedTuple):
    """What is seen in a picture."""

    picture: Floats  # (28, 28) floats in [0, 1], white ink on black
    digits: int  # that stand side by side in it; the picture shows them all


def from_bytes(content: bytes) -> Floats:
    """A picture file -> (28, 28) floats in [0, 1]. Raises BadPictureError."""
    return normalise(decode(content))


def to_mnist(picture: Image.Image) -> Floats:
    """A picture of one digit -> (28, 28) floats in [0, 1], white ink on black. Raises BadPictureError."""
    return normalise(pixels(picture))


def normalise(array: Bytes) -> Floats:
    """Pixels (grey, RGB or RGBA) -> (28, 28) floats in [0, 1]. Raises NoDigitError."""
    return look(array).picture


def look(array: Bytes) -> Seen:
    """Pixels (grey, RGB or RGBA) -> the picture in MNIST's form, and how many digits it shows. Raises NoDigitError."""
    array = without_alpha(array)
    if array.shape == (SIDE, SIDE, 3) and (array == array[:, :, :1]).all():
        array = np.ascontiguousarray(array[:, :, 0])  # grey in colours, as a palette's are
    if in_mnist_form(array):
        return Seen(array.astype(np.float32) / np.float32(255), 1)
    steps = halvings(array, LOOK)
    pen, ink = Pen.of(steps[-1])
    strokes = Strokes.of(ink)
    if array.shape[:2] == (SIDE, SIDE) and strokes.disturbed:
        return Seen(_as_it_is(array), strokes.digits)
    return Seen(_centred(_with_usual_stroke(_scaled(_cropped(steps, pen, ink, strokes.kept)))), strokes.digits)


def _as_it_is(array: Bytes) -> Floats:
    """A damaged picture of MNIST's own size: only its contrast is stretched, and dark ink made light.

    Its digit is where it belongs; a line across it or a stripe beside it would mislead any search for its box.
    """
    grey = (array if array.ndim == 2 else array.mean(axis=2)).astype(np.float32)
    grey = (grey - grey.min()) / max(float(np.ptp(grey)), 1.0)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    dark_ink = np.median(border) > 0.5 and np.median(grey[7:21, 7:21]) > 0.5
    return np.asarray(1 - grey if dark_ink else grey, dtype=np.float32)


def in_mnist_form(array: Bytes) -> bool:
    """Whether the pixels already are as MNIST's: each of its digits fills 20 pixels around its centre of mass."""
    if array.shape != (SIDE, SIDE) or array.max() < 200:
        return False
    rows, columns = np.flatnonzero(array.any(axis=1)), np.flatnonzero(array.any(axis=0))
    longest = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    weights = array.sum(axis=1, dtype=np.float64), array.sum(axis=0, dtype=np.float64)
    places = [float(weight @ np.arange(SIDE) / weight.sum()) for weight in weights]
    return longest in (BOX - 1, BOX) and all(abs(place - SIDE / 2) <= 0.51 for place in places)


def _cropped(steps: Sequence[Bytes], pen: Pen, ink: Bytes, strokes: Bytes) -> Bytes:
    """The digit's ink in its own box, without what is not of the digit, in pixels enough.

    `ink` and `strokes` are (h, w) of the last of the picture's `steps`, each of which is twice the next.
    """
    mask = cv2.dilate(strokes, np.ones((3, 3), np.uint8))  # with the soft edge of the strokes
    left, top, width, height = cv2.boundingRect(mask)
    larger = min(len(steps) - 1, max(0, math.ceil(math.log2(ENOUGH / max(width, height)))))
    if larger:
        ink = pen.strength(steps[-1 - larger])
    ink = ink[top << larger : (top + height) << larger, left << larger : (left + width) << larger]
    mask = mask[top : top + height, left : left + width]
    mask = cv2.resize(mask, ink.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return _boxed(np.asarray(cv2.multiply(ink, mask), dtype=np.uint8))


def _boxed(ink: Bytes) -> Bytes:
    """Without the empty rows and columns around."""
    _, solid = cv2.threshold(ink, FAINT * 255, 1, cv2.THRESH_BINARY)
    left, top, width, height = cv2.boundingRect(solid)
    return ink[top : top + height, left : left + width] if width else ink


def _scaled(ink: Bytes) -> Bytes:
    """The box with its longest side at 80 pixels; strokes thinner than the reduction are widened first."""
    factor = BOX * FINE / max(ink.shape)
    if factor < 1 and _stroke_width(ink) < 1 / factor:
        ink = np.asarray(cv2.dilate(ink, np.ones((round(1 / factor),) * 2, np.uint8)), dtype=np.uint8)
    return _resized_by(ink, factor, cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)


def _resized_by(ink: Bytes, factor: float, method: int) -> Bytes:
    size = (max(1, round(ink.shape[1] * factor)), max(1, round(ink.shape[0] * factor)))
    return np.asarray(cv2.resize(ink, size, interpolation=method), dtype=np.uint8)


def _with_usual_stroke(ink: Bytes) -> Bytes:
    """Strokes thinner or thicker than nearly all of MNIST's, brought to the nearest usual width."""
    width = _stroke_width(ink) / FINE
    change = round((np.clip(width, STROKE_THIN, STROKE_THICK) - width) * FINE)
    if change == 0:
        return ink
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (abs(change) + 1,) * 2)
    if change > 0:
        padded = cv2.copyMakeBorder(ink, *(change,) * 4, cv2.BORDER_CONSTANT)
        changed = cv2.dilate(padded, kernel)
    else:
        changed = cv2.erode(ink, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    ink = _boxed(np.asarray(changed, dtype=np.uint8))
    return _resized_by(ink, BOX * FINE / max(ink.shape), cv2.INTER_LINEAR)


def _stroke_width(ink: Bytes) -> float:
    """The mean width of the strokes in pixels: twice the inked area over the length of its outline."""
    _, mask = cv2.threshold(ink, 127, 1, cv2.THRESH_BINARY)
    mask = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    length = sum(cv2.arcLength(outline, True) for outline in outlines)
    return 2 * cv2.countNonZero(mask) / max(length, 1.0)


def _centred(ink: Bytes) -> Floats:
    """The box of at most 80×80 -> (28, 28) floats in [0, 1], its centre of mass in the middle. Raises NoDigitError."""
    moments = cv2.moments(ink)
    if moments["m00"] == 0:
        raise NoDigitError(NO_INK)
    middle, room = (SIDE / 2 + 0.5) * FINE - 0.5, SIDE * FINE  # pixel 14 of 0 to 27, where MNIST has it
    left, top = middle - moments["m10"] / moments["m00"], middle - moments["m01"] / moments["m00"]
    left, top = (min(max(round(at), 0), room - n) for at, n in ((left, ink.shape[1]), (top, ink.shape[0])))
    around = (top, room - top - ink.shape[0], left, room - left - ink.shape[1])
    canvas = cv2.copyMakeBorder(ink, *around, cv2.BORDER_CONSTANT)
    return cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
