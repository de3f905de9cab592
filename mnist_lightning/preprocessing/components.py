"""Find the digit's strokes among all ink: specks, ruled paper and frames are not part of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.errors import NoDigitError

Box = tuple[int, int, int, int]  # left, top, width, height

MAX_INK = 0.8  # fraction of the image
STRONG, WEAK = 0.5, 0.25  # of full ink: a stroke has strong ink somewhere and weak ink along it (hysteresis)
MIN_RULED_SIDE = 40  # pixels: a smaller image shows no ruled paper
LINE_LENGTH = 0.8  # fraction of the image that a ruled line crosses
BORDER_AREA_RATIO = 0.25  # of the largest component's area: a smaller one that touches the border is no digit
SPECK_AREA_RATIO = 0.05  # of the largest component's area: a smaller one is noise
MIN_OVERLAP = 0.25  # of the narrower one's width: components that share more columns form one digit
# A second digit reaches these ratios: height and shared rows of the tallest one's height, area of the largest one's.
MIN_HEIGHT_RATIO, MIN_ROWS_RATIO, MIN_AREA_RATIO = 0.5, 0.3, 0.2
MAX_PLAIN_PARTS = 3  # components of a digit on plain paper; more are specks or squares
FLAT = 4  # width over height of a line
WIDE = 1.3  # width over height of most digits at most, unlike numbers
MAX_PARTS = 5  # components of a digit, specks left out, on any paper
MIN_LINE_RATIO = 0.25  # of the box's height: a lower component is no line of digits
ONLY_FAINT = "no ink in the picture: only a faint shade stands out from its background"


@dataclass(frozen=True)
class DigitComponents:
    """The pixels that belong to the digit."""

    mask: Bytes  # (h, w), 1 in the digit, 0 elsewhere
    box: Box  # of the mask's ones
    is_degraded: bool  # there is other ink, many components, or ink from one side of the image to the other
    digits: int  # count of digits side by side
    is_clean: bool  # nothing that is no digit is around, below or beside the digits
    is_plain: bool  # the ink is clean, and at most a digit in a few parts
    may_be_number: bool  # the digits may be several, side by side, touching, or in lines

    @classmethod
    def find(cls, ink: Bytes) -> "DigitComponents":
        """Find the digit in a foreground (h, w) of 0 to 255. Raises NoDigitError."""
        _, weak = cv2.threshold(ink, WEAK * 255, 1, cv2.THRESH_BINARY)
        if cv2.countNonZero(weak) > MAX_INK * weak.size:
            raise NoDigitError("the picture is nearly all ink: it shows no digit")
        weak = _remove_ruled_lines(np.asarray(weak, dtype=np.uint8))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(weak, None, None, None, 8, cv2.CV_16U)
        if count == 2:  # one component: the general case in fewer steps
            return cls._of_single(weak, stats[1].tolist(), ink)
        left, top, width, height, area = stats.T
        area = np.where(np.bincount(labels[ink > STRONG * 255], minlength=count) > 0, area, 0)
        area[0] = 0  # the paper
        largest = int(area.max())
        if largest == 0:
            raise NoDigitError(ONLY_FAINT)
        touches = np.stack([left == 0, top == 0, left + width == ink.shape[1], top + height == ink.shape[0]])
        kept = (area >= SPECK_AREA_RATIO * largest) & ~(touches.any(axis=0) & (area < BORDER_AREA_RATIO * largest))
        sides = np.asarray(touches[:, kept].any(axis=1))
        specks = count - 1 > np.count_nonzero(area >= SPECK_AREA_RATIO * largest)
        is_degraded = bool(specks or np.count_nonzero(kept) > 2 or (sides[:2] & sides[2:]).any())
        digits = count_digits(stats[kept]) if np.count_nonzero(kept) > 1 else 1
        mask = weak if kept[1:].all() else kept.astype(np.uint8)[labels]
        is_clean = not touches[:, 1:].any() and not _has_marks(stats[1:])
        return cls(
            mask,
            box := cast(Box, cv2.boundingRect(mask)),
            is_degraded,
            digits,
            is_clean,
            is_plain=is_clean and count - 1 <= MAX_PLAIN_PARTS,
            may_be_number=digits > 1 or _is_wide(box) or _are_stacked(stats[kept], box),
        )

    @classmethod
    def _of_single(cls, weak: Bytes, stats: Sequence[int], ink: Bytes) -> "DigitComponents":
        if cv2.minMaxLoc(ink, weak)[1] <= STRONG * 255:
            raise NoDigitError(ONLY_FAINT)
        left, top, width, height, _ = stats
        spans = width == ink.shape[1] or height == ink.shape[0]
        box = (left, top, width, height)
        return cls(weak, box, spans, 1, is_clean=not spans, is_plain=not spans, may_be_number=_is_wide(box))


def _is_wide(box: Box) -> bool:
    """Whether a box is wider than most single digits are."""
    return box[2] > WIDE * box[3]


def _are_stacked(components: NDArray[np.integer[Any] | np.floating[Any]], box: Box) -> bool:
    """Whether large components (n, 5) lie above one another, with a gap between them, or many are no single digit."""
    if len(components) > MAX_PARTS:
        return True
    tall = components[components[:, 3] >= MIN_LINE_RATIO * box[3]]
    return len(tall) > 1 and bool((tall[:, 1] + tall[:, 3]).min() < tall[:, 1].max())


def _has_marks(components: NDArray[np.integer[Any] | np.floating[Any]]) -> bool:
    """Whether some components (n, 5) may mark others: a box or a circle around them, or a flat line, the widest."""
    left, top, width, height, _ = components.T
    right, bottom = left + width, top + height
    inside = (left[:, None] > left) & (right[:, None] < right) & (top[:, None] > top) & (bottom[:, None] < bottom)
    flat = (width > FLAT * height) & (width >= width.max())
    return bool(inside.any() or flat.any())


def count_digits(components: NDArray[np.integer[Any] | np.floating[Any]]) -> int:
    """How many digits some components form, (n, 5) as left, top, width, height, area.

    A digit's own components lie above one another, as the bar of a 5 above its bowl, or are much smaller than the rest.
    """
    digits: list[list[int]] = []  # left, right, top, bottom, area
    for left, top, width, height, area in components[np.argsort(components[:, 0])].tolist():
        component = [left, left + width, top, top + height, area]
        before = digits[-1] if digits else component
        if digits and min(before[1], component[1]) - left > MIN_OVERLAP * min(before[1] - before[0], width):
            right, low, ink = max(before[1], component[1]), max(before[3], component[3]), before[4] + area
            digits[-1] = [before[0], right, min(before[2], top), low, ink]
        else:
            digits.append(component)
    _, _, tops, bottoms, areas = np.array(digits).T
    tallest = (bottoms - tops).max()
    whole = (bottoms - tops >= MIN_HEIGHT_RATIO * tallest) & (areas >= MIN_AREA_RATIO * areas.max())
    if not whole.any():  # a thick digit beside a thin line that is more than twice as tall
        return 1
    return int(whole.sum()) if bottoms[whole].min() - tops[whole].max() >= MIN_ROWS_RATIO * tallest else 1


def _remove_ruled_lines(ink: Bytes) -> Bytes:
    """A mask (h, w) without ruled or squared paper and frames, which are two or more lines across the image."""
    if min(ink.shape) < MIN_RULED_SIDE:
        return ink
    height, width = ink.shape
    rows, columns = (cv2.reduce(ink, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).max() for axis in (1, 0))
    if rows < round(LINE_LENGTH * width) and columns < round(LINE_LENGTH * height):
        return ink
    rest, lines = ink, 0
    for turned in (False, True):  # horizontal lines, then vertical ones
        view = rest.T if turned else rest
        found = _lines(ink.T if turned else ink)
        if found is None:
            continue
        runs = np.flatnonzero(np.diff(found.any(axis=1).astype(np.int8), prepend=0, append=0))
        lines = max(lines, len(runs) // 2)
        without = cv2.subtract(view, cv2.dilate(found, np.ones((3, 1), np.uint8)))  # with the line's soft edge
        gap = np.ones((int(np.diff(runs)[::2].max()) + 4, 1), np.uint8)
        bridges = cv2.bitwise_and(cv2.morphologyEx(without, cv2.MORPH_CLOSE, gap), view)  # strokes that cross the line
        view = np.asarray(cv2.bitwise_or(without, bridges), dtype=np.uint8)
        rest = view.T if turned else view
    return np.ascontiguousarray(rest) if lines >= 2 and rest.any() else ink


def _lines(ink: Bytes) -> Bytes | None:
    """The ink that runs without a gap along most of a row; None if there is no such row."""
    length = round(LINE_LENGTH * ink.shape[1])
    found = cv2.morphologyEx(np.ascontiguousarray(ink), cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    return np.asarray(found, dtype=np.uint8) if found.any() else None
