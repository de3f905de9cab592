"""Any picture of one digit -> (28, 28) as MNIST drew its digits: white ink on black, 20 pixels, centred by mass.

The form is that of LeCun, Cortes and Burges, "The MNIST database of handwritten digits": the digit's box scaled
to 20×20 with its aspect kept, its centre of mass in the middle of 28×28.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_lightning.pictures import BadPictureError, Bytes, NoDigitError, decode, pixels, resized

__all__ = ["BadPictureError", "NoDigitError", "from_bytes", "from_numbers", "to_mnist"]

Floats = NDArray[np.float32]

SIDE, BOX = 28, 20  # MNIST's picture and the digit's box in it, in pixels
FINE = 4  # strokes are measured and mended at four times MNIST's resolution
STROKE_THIN, STROKE_THICK = 1.9, 3.6  # 20 % and 95 % of MNIST's training digits, in MNIST's pixels
NO_INK = "no ink in the picture: nothing stands out from its background"
LOOK = 256  # longest side at which the digit is looked for
UNEVEN = 12  # of 255: a border that varies by more is taken for uneven light
LEAST_CONTRAST = 8  # of 255, between paper and ink
MOST_INK = 0.8  # of the picture
SURE, FAINT = 0.5, 0.25  # of the ink's strength: a stroke has sure ink somewhere and faint ink along it
LEAST_RULED, LINE = 40, 0.8  # a smaller picture shows no ruled paper; part of the picture that a line crosses
STRAY = 0.25  # of the largest stroke's area: what is smaller and touches the border belongs to something else
SPECK = 0.05  # of the largest stroke's area: what is smaller is no part of the digit


def from_bytes(content: bytes) -> Floats:
    """A picture file -> (28, 28) floats in [0, 1]. Raises BadPictureError."""
    return normalise(decode(content))


def to_mnist(picture: Image.Image) -> Floats:
    """A picture of one digit -> (28, 28) floats in [0, 1], white ink on black. Raises BadPictureError."""
    return normalise(pixels(picture))


def from_numbers(numbers: Sequence[object]) -> Floats:
    """784 numbers from 0 to 255, flat or as 28 rows -> (28, 28) floats in [0, 1]. Raises BadPictureError."""
    try:
        array = np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadPictureError("the list must hold numbers only, as 784 values or as 28 rows of 28") from error
    if array.shape not in ((SIDE * SIDE,), (SIDE, SIDE)):
        raise BadPictureError(f"784 numbers or 28 rows of 28 are expected, got the shape {array.shape}")
    if not ((array >= 0) & (array <= 255)).all():
        raise BadPictureError("every number must be from 0 to 255")
    return normalise(array.reshape(SIDE, SIDE).round().astype(np.uint8))


def normalise(array: Bytes) -> Floats:
    """Pixels (grey, RGB or RGBA) -> (28, 28) floats in [0, 1]. Raises NoDigitError."""
    array = _plain(array)
    if in_mnist_form(array):
        return array.astype(np.float32) / np.float32(255)
    look = resized(array, LOOK)
    pen = Pen.of(look)
    ink = pen.strength(look)
    strokes = Strokes.of(ink)
    if array.shape[:2] == (SIDE, SIDE) and strokes.disturbed:
        return _as_it_is(array)
    ink = _cropped(array, ink, strokes.kept, pen)
    return _centred(_with_usual_stroke(_scaled(ink)))


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


@dataclass(frozen=True)
class Pen:
    """What tells ink from paper in a picture: the paper's colour everywhere, the ink's direction away from it."""

    paper: Bytes  # (C,), or a small picture of it, (h, w, C) or (h, w), where the light is uneven
    direction: Floats  # (C,), of length 1
    depth: float  # how far along it full ink lies

    @classmethod
    def of(cls, look: Bytes) -> "Pen":
        """The pen of a picture. Raises NoDigitError where nothing stands out from the paper."""
        border = np.concatenate([look[0], look[-1], look[:, 0], look[:, -1]])
        border = np.sort(border.reshape(len(border), -1), axis=0)  # each channel for itself
        count = len(border)
        paper = border[count // 2]
        spread = cv2.absdiff(border[[count // 8, -count // 8]], np.stack([paper, paper]))
        if spread.max() > UNEVEN:
            paper = _background(look)
        force = _strongest(_difference(look, paper))
        inked = force >= LEAST_CONTRAST  # ink and noise: few of the pixels
        if not inked.any():
            raise NoDigitError(NO_INK)
        under = paper if paper.ndim == 1 else _paper_at(paper, look)[inked]
        away = look[inked].astype(np.float32).reshape(-1, len(border[0])) - under.reshape(-1, len(border[0]))
        direction = force[inked].astype(np.float32) @ away  # what differs more counts more: ink outweighs noise
        direction /= max(float(np.linalg.norm(direction)), 1e-6)
        along = away @ direction
        count = min(max(4, force.size // 2000), len(along))
        depth = float(np.partition(along, -count)[-(count + 1) // 2])  # the median of the deepest
        if depth < LEAST_CONTRAST:
            raise NoDigitError(NO_INK)
        return cls(paper, direction, depth)

    def strength(self, array: Bytes, rows: slice = slice(None), columns: slice = slice(None)) -> Bytes:
        """Ink in the pixels of a part of the picture, 0 on paper, 255 in full ink: (h, w)."""
        weights = self.direction * (255 / self.depth)
        part = array[rows, columns]
        if self.paper.ndim == 1:  # a weighted sum of the channels, cut off at 0 and 255
            matrix = np.append(weights, -weights @ self.paper)[None].astype(np.float32)
            return np.asarray(cv2.transform(part, matrix), dtype=np.uint8)
        paper = _paper_at(self.paper, array)[rows, columns]
        away = cv2.subtract(part, paper, dtype=cv2.CV_32F)
        return np.asarray(np.clip(cv2.transform(away, weights[None]), 0, 255), dtype=np.uint8)


def _difference(look: Bytes, paper: Bytes) -> Bytes:
    """How far each pixel is from the paper, channel by channel."""
    if paper.ndim > 1:
        return np.asarray(cv2.absdiff(look, _paper_at(paper, look)), dtype=np.uint8)
    return np.asarray(cv2.absdiff(look, paper.astype(np.float64)), dtype=np.uint8)


def _strongest(difference: Bytes) -> Bytes:
    """The largest of the channels, (h, w)."""
    if difference.ndim == 2:
        return difference
    first, *others = cv2.split(difference)
    for other in others:
        first = cv2.max(first, other)
    return np.asarray(first, dtype=np.uint8)


def _paper_at(paper: Bytes, array: Bytes) -> Bytes:
    """A small picture of the paper in the resolution of the picture itself."""
    return np.asarray(cv2.resize(paper, array.shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _plain(array: Bytes) -> Bytes:
    """Without an alpha channel; grey where a small picture is grey in colours (as a palette's are)."""
    if array.ndim == 3 and array.shape[2] == 4:
        array = _on_paper(array)
    if array.shape == (SIDE, SIDE, 3) and (array == array[:, :, :1]).all():
        return np.ascontiguousarray(array[:, :, 0])
    return array


def _on_paper(array: Bytes) -> Bytes:
    """RGBA -> RGB: on white paper, or on black where the ink itself is white."""
    alpha = array[:, :, 3:].astype(np.uint16)
    if alpha.min() == 255:
        return array[:, :, :3]
    colour = array[:, :, :3] * alpha // 255
    on_white = (colour + 255 - alpha).astype(np.uint8)
    return on_white if np.ptp(on_white) >= LEAST_CONTRAST else colour.astype(np.uint8)


def _background(look: Bytes) -> Bytes:
    """The paper under the ink, at 64 pixels: what remains when everything narrower than the median's window goes."""
    small = resized(look, 64)
    return np.asarray(cv2.medianBlur(small, min(small.shape[:2]) * 2 // 3 | 1), dtype=np.uint8)


@dataclass(frozen=True)
class Strokes:
    """Which pixels belong to the digit, and how sure that is."""

    kept: Bytes  # (h, w), 1 in the digit, 0 elsewhere
    disturbed: bool  # other ink besides, many pieces, or ink from one side of the picture to the other

    @classmethod
    def of(cls, ink: Bytes) -> "Strokes":
        """The digit's strokes in an ink's strength (h, w). Raises NoDigitError."""
        _, faint = cv2.threshold(ink, FAINT * 255, 1, cv2.THRESH_BINARY)
        if cv2.countNonZero(faint) > MOST_INK * faint.size:
            raise NoDigitError("the picture is nearly all ink: there is no digit to see in it")
        faint = _without_lines(np.asarray(faint, dtype=np.uint8))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(faint, connectivity=8)
        left, top, width, height, area = stats.T
        area = np.where(np.bincount(labels[ink > SURE * 255], minlength=count) > 0, area, 0)
        area[0] = 0  # the paper
        largest = int(area.max())
        if largest == 0:
            raise NoDigitError("no ink in the picture: only a faint shade stands out from its background")
        touches = np.stack([left == 0, top == 0, left + width == ink.shape[1], top + height == ink.shape[0]])
        kept = (area >= SPECK * largest) & ~(touches.any(axis=0) & (area < STRAY * largest))
        sides = np.asarray(touches[:, kept].any(axis=1))
        specks = count - 1 > np.count_nonzero(area >= SPECK * largest)
        disturbed = bool(specks or np.count_nonzero(kept) > 2 or (sides[:2] & sides[2:]).any())
        return cls(kept.astype(np.uint8)[labels], disturbed)


def _without_lines(ink: Bytes) -> Bytes:
    """Ink (h, w) of 0 and 1 without ruled or squared paper and frames: two or more lines across the picture."""
    if min(ink.shape) < LEAST_RULED:
        return ink
    rest, lines = ink, 0
    for turned in (False, True):  # lines from left to right, then those from top to bottom
        view = rest.T if turned else rest
        found = _lines(ink.T if turned else ink)
        if found is None:
            continue
        runs = np.flatnonzero(np.diff(found.any(axis=1).astype(np.int8), prepend=0, append=0))
        lines = max(lines, len(runs) // 2)
        without = cv2.subtract(view, cv2.dilate(found, np.ones((3, 1), np.uint8)))  # and the line's soft edge
        gap = np.ones((int(np.diff(runs)[::2].max()) + 4, 1), np.uint8)
        bridges = cv2.bitwise_and(cv2.morphologyEx(without, cv2.MORPH_CLOSE, gap), view)  # strokes across the line
        view = np.asarray(cv2.bitwise_or(without, bridges), dtype=np.uint8)
        rest = view.T if turned else view
    return np.ascontiguousarray(rest) if lines >= 2 and rest.any() else ink


def _lines(ink: Bytes) -> Bytes | None:
    """What is inked without a gap along most of a row; None where there is no such row."""
    length = round(LINE * ink.shape[1])
    if ink.sum(axis=1).max() < length:
        return None
    found = cv2.morphologyEx(np.ascontiguousarray(ink), cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    return np.asarray(found, dtype=np.uint8) if found.any() else None


def _cropped(array: Bytes, ink: Bytes, strokes: Bytes, pen: Pen) -> Bytes:
    """The digit's ink at the picture's own resolution, in its own box, without what is not of the digit.

    `ink` and `strokes` are (h, w) of the picture as it was looked at, which may be smaller.
    """
    mask = cv2.dilate(strokes, np.ones((3, 3), np.uint8))  # with the soft edge of the strokes
    left, top, width, height = cv2.boundingRect(mask)
    down, across = array.shape[0] / ink.shape[0], array.shape[1] / ink.shape[1]
    rows = slice(int(top * down), math.ceil((top + height) * down))
    columns = slice(int(left * across), math.ceil((left + width) * across))
    ink = pen.strength(array, rows, columns) if ink.shape != array.shape[:2] else ink[rows, columns]
    part = cv2.resize(mask[top : top + height, left : left + width], ink.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return _boxed(np.asarray(cv2.multiply(ink, part), dtype=np.uint8))


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
    middle = (SIDE / 2 + 0.5) * FINE - 0.5  # pixel 14 of 0 to 27, where MNIST has it
    across = round(middle - moments["m10"] / moments["m00"])
    down = round(middle - moments["m01"] / moments["m00"])
    place = np.array([[1, 0, across], [0, 1, down]], dtype=np.float32)
    canvas = cv2.warpAffine(ink, place, (SIDE * FINE, SIDE * FINE), flags=cv2.INTER_NEAREST)
    return cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
