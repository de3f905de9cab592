"""Finding the digit among all that is inked: specks, ruled paper and frames are no part of it."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mnist_lightning.preprocessing.decode import Bytes, NoDigitError

MOST_INK = 0.8  # of the picture
SURE, FAINT = 0.5, 0.25  # of the ink's strength: a stroke has sure ink somewhere and faint ink along it
LEAST_RULED, LINE = 40, 0.8  # a smaller picture shows no ruled paper; part of the picture that a line crosses
STRAY = 0.25  # of the largest stroke's area: what is smaller and touches the border belongs to something else
SPECK = 0.05  # of the largest stroke's area: what is smaller is no part of the digit
BESIDE = 0.25  # of the narrower one's width: pieces that share more columns than that make one digit
TALL, ROWS, LARGE = 0.5, 0.3, 0.2  # of the tallest digit's height, the same, the largest one's area: what is another


@dataclass(frozen=True)
class Strokes:
    """Which pixels belong to the digit, and how sure that is."""

    kept: Bytes  # (h, w), 1 in the digit, 0 elsewhere
    disturbed: bool  # other ink besides, many pieces, or ink from one side of the picture to the other
    digits: int  # that stand side by side

    @classmethod
    def of(cls, ink: Bytes) -> "Strokes":
        """The digit's strokes in an ink's strength (h, w). Raises NoDigitError."""
        _, faint = cv2.threshold(ink, FAINT * 255, 1, cv2.THRESH_BINARY)
        if cv2.countNonZero(faint) > MOST_INK * faint.size:
            raise NoDigitError("the picture is nearly all ink: there is no digit to see in it")
        faint = _without_lines(np.asarray(faint, dtype=np.uint8))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(faint, None, None, None, 8, cv2.CV_16U)
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
        digits = side_by_side(stats[kept]) if np.count_nonzero(kept) > 1 else 1
        return cls(faint if kept[1:].all() else kept.astype(np.uint8)[labels], disturbed, digits)


def side_by_side(pieces: NDArray[np.integer[Any] | np.floating[Any]]) -> int:
    """How many digits pieces of ink make, (n, 5) as left, top, width, height, area.

    A digit's own pieces stand over one another, as the bar of a 5 over its belly, or are much smaller than the rest.
    """
    digits: list[list[int]] = []  # left, right, top, bottom, area
    for left, top, width, height, area in pieces[np.argsort(pieces[:, 0])].tolist():
        piece = [left, left + width, top, top + height, area]
        before = digits[-1] if digits else piece
        if digits and min(before[1], piece[1]) - left > BESIDE * min(before[1] - before[0], width):
            right, low, ink = max(before[1], piece[1]), max(before[3], piece[3]), before[4] + area
            digits[-1] = [before[0], right, min(before[2], top), low, ink]
        else:
            digits.append(piece)
    _, _, tops, bottoms, areas = np.array(digits).T
    tallest = (bottoms - tops).max()
    whole = (bottoms - tops >= TALL * tallest) & (areas >= LARGE * areas.max())
    return int(whole.sum()) if bottoms[whole].min() - tops[whole].max() >= ROWS * tallest else 1


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
    if cv2.reduce(ink, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).max() < length:
        return None
    found = cv2.morphologyEx(np.ascontiguousarray(ink), cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    return np.asarray(found, dtype=np.uint8) if found.any() else None
