"""Read a number: find its lines, read each, and say where every digit is."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from mnist_lightning.preprocessing import line_reader
from mnist_lightning.preprocessing.components import WEAK
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.errors import NoDigitError, TooManyDigitsError
from mnist_lightning.preprocessing.line_reader import STRIDE, LineReading, Symbol
from mnist_lightning.preprocessing.lines import SUPERSAMPLING, Line, find_lines
from mnist_lightning.preprocessing.strokes import SIDE, Floats, to_mnist_form

Box = tuple[float, float, float, float]  # left, top, width, height

NO_DIGIT = "?"  # what a number shows for a character that is no digit
MAX_DIGITS = 64  # of one picture
MIN_DIGITS = 0.5  # fraction of a line's characters, where another line has so many
DELAY = 1.0  # pixels of the strip by which the network sees a digit before its middle
OWN_SHARE = 0.8  # of a component's ink on one side of a cut: then the rest of it is not cut off
CUT_WEIGHT = 0.02  # of a cut's squared distance from the middle between two digits, in rows of ink


class Digit(NamedTuple):
    """A digit of a number, or another character."""

    probabilities: Floats  # (11,): of the ten digits, and of being no digit
    box: Box  # in pixels of the picture
    ink: Bytes  # (h, w), 0 to 255

    @property
    def is_digit(self) -> bool:
        """Whether it is more probably a digit than no digit."""
        return bool(self.probabilities[10] <= 0.5)

    def __str__(self) -> str:
        return str(self.probabilities[:10].argmax()) if self.is_digit else NO_DIGIT

    def image(self) -> Floats:
        """The digit in MNIST's form, (28, 28) floats in [0, 1]."""
        try:
            return to_mnist_form(self.ink)
        except NoDigitError:  # nothing is left of strokes that are thin and faint
            return np.zeros((SIDE, SIDE), np.float32)


class Number(NamedTuple):
    """Several digits, in one line or more."""

    lines: list[list[Digit]]
    confidences: list[float]  # of each line, the probability that all of it is right

    @property
    def confidence(self) -> float:
        """The probability that all of it is right."""
        return math.prod(self.confidences)

    @property
    def line_confidence(self) -> float:
        """The geometric mean of the lines' confidence."""
        return float(self.confidence ** (1 / len(self.confidences)))

    @property
    def expected_digits(self) -> float:
        """The count of digits in lines that are right, on average."""
        counts = (sum(digit.is_digit for digit in line) for line in self.lines)
        return sum(count * confidence for count, confidence in zip(counts, self.confidences, strict=True))

    @property
    def digits(self) -> list[Digit]:
        """The digits of all lines."""
        return [digit for line in self.lines for digit in line]

    @property
    def texts(self) -> list[str]:
        """What the lines say, with NO_DIGIT for a character that is no digit."""
        return ["".join(map(str, line)) for line in self.lines]

    def scaled(self, factor: float) -> "Number":
        """The number with its boxes in pixels of a picture that is `factor` times as large."""
        scaled = [[digit._replace(box=scale_box(digit.box, factor)) for digit in line] for line in self.lines]
        return self._replace(lines=scaled)


def scale_box(box: Box, factor: float) -> Box:
    """A box in pixels that are smaller by a factor."""
    left, top, width, height = box
    return left * factor, top * factor, width * factor, height * factor


def read_number(ink: Bytes, offset: Sequence[float] = (0, 0), scale: Sequence[float] = (1, 1)) -> Number | None:
    """Read the number in ink (h, w) of 0 to 255; None if it is a single digit, or no digit.

    Args:
        ink: a part of a picture.
        offset: of the part, in pixels of the picture, as x, y.
        scale: pixels of the picture for each pixel of ink, as x, y.

    Raises TooManyDigitsError.
    """
    lines = find_lines(ink)
    readings = line_reader.read([line.strip for line in lines])
    found = [
        (_cut_digits(line, reading, offset, scale), reading.confidence)
        for line, reading in zip(lines, readings, strict=True)
    ]
    shares = [sum(digit.is_digit for digit in digits) / max(1, len(digits)) for digits, _ in found]
    least = min(MIN_DIGITS, max(shares, default=0))
    rows = [row for row, share in zip(found, shares, strict=True) if share and share >= least]  # others are print
    count = sum(len(digits) for digits, _ in rows)
    if count > MAX_DIGITS:
        raise TooManyDigitsError(f"the picture shows {count} digits; the limit is {MAX_DIGITS}")
    if count < 2:
        return None
    return Number([digits for digits, _ in rows], [confidence for _, confidence in rows])


def _cut_digits(line: Line, reading: LineReading, offset: Sequence[float], scale: Sequence[float]) -> list[Digit]:
    digits = []
    for (ink, (left, top)), probabilities in zip(_cut(line.fine, reading.symbols), reading.scores, strict=True):
        height, width = ink.shape
        x, y, across, down = line.box_in_ink([value / SUPERSAMPLING for value in (left, top, width, height)])
        box = (offset[0] + x * scale[0], offset[1] + y * scale[1], across * scale[0], down * scale[1])
        digits.append(Digit(probabilities, box, ink))
    return digits


def _cut(fine: Bytes, symbols: Sequence[Symbol]) -> list[tuple[Bytes, tuple[int, int]]]:
    """The ink of each symbol in a strip, cropped, and where it is: left, top.

    The strip is cut between symbols where it has little ink. A component that lies mostly on one side of a cut stays
    whole, as the overhang of a digit does.
    """
    if not symbols:
        return []
    columns = _owners(fine, symbols)
    _, solid = cv2.threshold(fine, WEAK * 255, 1, cv2.THRESH_BINARY)
    count, labels = cv2.connectedComponents(solid, None, 8, cv2.CV_16U)
    owners = np.broadcast_to(columns, fine.shape)
    shares = np.bincount((labels.astype(np.int64) * len(symbols) + owners).ravel(), minlength=count * len(symbols))
    shares = shares.reshape(count, len(symbols))
    whole = shares.max(axis=1) >= OWN_SHARE * shares.sum(axis=1)
    whole[0] = False  # the paper
    owners = np.where(whole[labels], shares.argmax(axis=1)[labels], owners)
    pieces = []
    for place in range(len(symbols)):
        own = np.where(owners == place, fine, 0).astype(np.uint8)
        box = cv2.boundingRect(cv2.threshold(own, WEAK * 255, 1, cv2.THRESH_BINARY)[1])
        if not box[2]:  # its ink belongs to its neighbors' components: a part of these
            columns_of = np.flatnonzero(columns == place)
            own, box = fine, (int(columns_of[0]), 0, len(columns_of), len(fine))
        left, top, width, height = box
        pieces.append((own[top : top + height, left : left + width], (left, top)))
    return pieces


def _owners(fine: Bytes, symbols: Sequence[Symbol]) -> np.ndarray:
    """Which symbol each column of a strip belongs to, (W,)."""
    ink = fine.sum(axis=0) / 255
    middles = [((one.start + one.end + 1) / 2 * STRIDE + DELAY) * SUPERSAMPLING for one in symbols]
    owners = np.zeros(fine.shape[1], np.int64)
    for before, after in pairwise(middles):
        between = np.arange(
            min(int(before) + 1, len(owners) - 2), min(max(int(before) + 2, int(after)), len(owners) - 1)
        )
        cost = ink[between] + CUT_WEIGHT * (between - (before + after) / 2) ** 2
        owners[between[cost.argmin()] :] += 1
    return owners
