"""Read numbers by over-segmentation, the usual way before networks that read whole lines, to compare these with.

A line is cut wherever a digit may end. The digit network classifies every sequence of up to MAX_PIECES pieces, and
dynamic programming chooses those that tile the line with the best scores. After Liu, Sako and Fujisawa, "Effects of
classifier structures and training regimes on integrated segmentation and recognition of handwritten numeral strings"
(2004). The constants were chosen on numbers of MNIST's validation digits: `python -m benchmarks.numbers --tune`.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing.components import STRONG, WEAK
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.errors import NoDigitError, TooManyDigitsError
from mnist_lightning.preprocessing.lines import DIGIT_HEIGHT, SUPERSAMPLING, Line, find_lines
from mnist_lightning.preprocessing.number import MAX_DIGITS, Box, Digit, Number
from mnist_lightning.preprocessing.strokes import Floats, to_mnist_form

HEIGHT = DIGIT_HEIGHT * SUPERSAMPLING  # pixels: of digits in a fine strip
MAX_PIECES = 5  # of a digit
# Fractions of HEIGHT:
MIN_SPECK = 0.1  # a component that is smaller in both directions is noise
MIN_TALL = 0.5  # a lower component that shares its columns with another one is a part of that digit
MIN_SPACING, MAX_PIECE = 0.1, 0.3  # the width of pieces
REACH, DEVIATION = 0.25, 0.03  # of a cut from its column, and its cost for each pixel, in pixels of ink
MIN_HEIGHT, MAX_WIDTH = 0.5, 1.4  # of a digit
MIN_OVERLAP = 0.5  # of a low component's columns
SMOOTHING = 5  # columns over which profiles are averaged
FRAGMENT = 0.1  # of a digit's ink: less in a component of its own, at the end that was cut, is its neighbor's
SKIPPED, SKIPPED_LOW = -20.0, -1.0  # scores of a piece that belongs to no digit, and of one lower than MIN_HEIGHT


@dataclass(frozen=True)
class Weights:
    """How the scores of a path are added up."""

    is_digit: float = 1.0  # of the logarithm of the probability of showing a digit
    segment: float = 1.0  # added for each segment
    lowness: float = 10.0  # of the squared fraction of HEIGHT that a segment lacks, subtracted
    cut: float = 0.075  # of each pixel of ink that is cut, subtracted
    gap: float = 1.0  # of each gap within a segment, subtracted


WEIGHTS = Weights()


class Segment(NamedTuple):
    """Pieces of a strip that may be a digit."""

    first: int
    end: int  # the piece after the last one
    box: tuple[int, int, int, int]  # left, top, width, height in pixels of the strip
    ink: Bytes  # (h, w), 0 to 255
    cut: float  # pixels of ink that are cut at its left
    gaps: int  # between its pieces: places where no ink is cut

    def penalty(self, weights: Weights) -> float:
        """What is subtracted from its score."""
        missing = max(0.0, 1 - self.box[3] / HEIGHT)
        return weights.lowness * missing**2 + weights.cut * self.cut + weights.gap * self.gaps


class Lattice(NamedTuple):
    """A line's segments, in the order of their ends, and the network's scores of each."""

    segments: list[Segment]
    pieces: list[bool]  # whether each piece is low
    digits: Floats  # (len(segments), 10): logarithms of the digits' probabilities
    is_digit: Floats  # (len(segments),): logarithms of the probability of showing a digit

    def best_path(self, weights: Weights) -> list[int]:
        """The segments with the best sum of scores that tile the line, from left to right."""
        scores = self.digits.max(axis=1) + weights.is_digit * self.is_digit + weights.segment
        scores -= np.array([segment.penalty(weights) for segment in self.segments], np.float32)
        best = [(0.0, 0, -1)]  # by piece: the score of the path to its left, where its last step began, its segment
        by_end: dict[int, list[int]] = {}
        for place, segment in enumerate(self.segments):
            by_end.setdefault(segment.end, []).append(place)
        for end, low in enumerate(self.pieces, 1):
            steps = [(best[end - 1][0] + (SKIPPED_LOW if low else SKIPPED), end - 1, -1)]
            for place in by_end.get(end, []):
                first = self.segments[place].first
                steps.append((best[first][0] + float(scores[place]), first, place))
            best.append(max(steps))
        path, end = [], len(self.pieces)
        while end:
            _, end, place = best[end]
            path += [place] if place >= 0 else []
        return path[::-1]


def number_reader(network: DigitNet) -> Callable[..., Number | None]:
    """A function that takes the place of `preprocessing.number.read_number`."""

    def read_number(ink: Bytes, offset: Sequence[float] = (0, 0), scale: Sequence[float] = (1, 1)) -> Number | None:
        lines = find_lines(ink)
        rows, confidences = [], []
        for line, lattice in zip(lines, make_lattices([line.fine for line in lines], network), strict=True):
            path = lattice.best_path(WEIGHTS)
            if path:
                log_probabilities = (float(lattice.digits[place].max() + lattice.is_digit[place]) for place in path)
                confidences.append(math.exp(sum(log_probabilities)))
                rows.append([_digit(line, lattice, place, offset, scale) for place in path])
        count = sum(map(len, rows))
        if count > MAX_DIGITS:
            raise TooManyDigitsError(f"the picture shows {count} digits")
        return Number(rows, confidences) if count > 1 else None

    return read_number


def text_of(lattice: Lattice, weights: Weights = WEIGHTS) -> str:
    """What a line says."""
    return "".join(str(lattice.digits[place].argmax()) for place in lattice.best_path(weights))


def _digit(line: Line, lattice: Lattice, place: int, offset: Sequence[float], scale: Sequence[float]) -> Digit:
    segment = lattice.segments[place]
    x, y, across, down = line.box_in_ink([value / SUPERSAMPLING for value in segment.box])
    box: Box = (offset[0] + x * scale[0], offset[1] + y * scale[1], across * scale[0], down * scale[1])
    return Digit(np.append(np.exp(lattice.digits[place]), np.float32(0)), box, segment.ink)


@torch.inference_mode()
def make_lattices(strips: Sequence[Bytes], network: DigitNet) -> list[Lattice]:
    """The lattices of strips (h, w) with digits of HEIGHT; all segments are classified in one batch."""
    found = [_segments(strip) for strip in strips]
    forms = [form for segments, _ in found for _, form in segments]
    if not forms:
        return [Lattice([], low, np.zeros((0, 10), np.float32), np.zeros(0, np.float32)) for _, low in found]
    probabilities, is_digit = network.predict_probabilities(torch.from_numpy(np.stack(forms))[:, None])
    digits, certainty = (np.log(part.clamp(1e-7).numpy()) for part in (probabilities, is_digit))
    lattices, first = [], 0
    for segments, low in found:
        own = slice(first, first := first + len(segments))
        lattices.append(Lattice([segment for segment, _ in segments], low, digits[own], certainty[own]))
    return lattices


def _segments(strip: Bytes) -> tuple[list[tuple[Segment, Floats]], list[bool]]:
    """All segments of a strip with their images in MNIST's form, and whether each piece is low."""
    owners, cuts = cut_into_pieces(strip)
    boxes = [cv2.boundingRect((owners == piece).astype(np.uint8)) for piece in range(1, len(cuts) + 1)]
    segments = []
    for end in range(1, len(cuts) + 1):
        for first in range(max(0, end - MAX_PIECES), end):
            left, top, width, height = np.array(boxes[first:end]).T
            if (left + width).max() - left.min() > MAX_WIDTH * HEIGHT:
                continue
            if (top + height).max() - top.min() < MIN_HEIGHT * HEIGHT:
                continue
            box, ink = _crop(strip, ((owners > first) & (owners <= end)).astype(np.uint8))
            with contextlib.suppress(NoDigitError):  # nothing is left of strokes that are thin and faint
                segment = Segment(first, end, box, ink, cuts[first], cuts[first + 1 : end].count(0.0))
                segments.append((segment, to_mnist_form(ink)))
    return segments, [box[3] < MIN_HEIGHT * HEIGHT for box in boxes]


def _crop(strip: Bytes, mask: Bytes) -> tuple[tuple[int, int, int, int], Bytes]:
    """The box of a mask without its fragments, and the strip's ink there."""
    kept = _without_fragments(mask)
    left, top, width, height = cv2.boundingRect(kept)
    window = slice(top, top + height), slice(left, left + width)
    return (left, top, width, height), np.asarray(cv2.multiply(strip[window], kept[window]), dtype=np.uint8)


def _without_fragments(mask: Bytes) -> Bytes:
    """A mask without small components that touch its left or right end."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, None, None, None, 8, cv2.CV_16U)
    if count <= 2:
        return mask
    left, right = stats[1:, 0].min(), (stats[1:, 0] + stats[1:, 2]).max()
    at_end = (stats[:, 0] == left) | (stats[:, 0] + stats[:, 2] == right)
    kept = ~(at_end & (stats[:, 4] < FRAGMENT * stats[1:, 4].sum()))
    kept[0] = False
    return np.asarray(kept[labels], dtype=np.uint8)


def cut_into_pieces(strip: Bytes) -> tuple[NDArray[np.int32], list[float]]:
    """Which piece each pixel of a strip belongs to, from 1 on, 0 for paper; and the ink cut at the left of each piece.

    Pieces are parts of connected components, one component after the other by their left sides, so that digits that
    share columns and do not touch are pieces of their own.
    """
    solid = (strip > WEAK * 255).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid, None, None, None, 8, cv2.CV_16U)
    strong = np.bincount(labels[strip > STRONG * 255], minlength=count) > 0
    owners, cut = np.zeros(strip.shape, np.int32), list[float]()
    columns = np.arange(strip.shape[1])
    for members in _group(np.asarray(stats), np.flatnonzero(strong[1:]) + 1):
        mask = np.isin(labels, members)
        own = np.where(mask, strip, 0).astype(np.uint8)
        seams, inks = _seams(own, _cuts(own))
        piece = 1 + (columns[:, None] >= seams[:, None]).sum(axis=2)
        used = np.unique(piece[mask])  # a seam beside another one leaves nothing between them
        owners = np.where(mask, len(cut) + np.searchsorted(used, piece) + 1, owners)
        cut += [0.0, *(float(inks[place - 2]) for place in used[1:])]
    return owners, cut


def _group(stats: NDArray[np.int32], places: NDArray[np.int64]) -> list[list[int]]:
    """Components (n, 5) by digit or digits that touch, from left to right: a low one joins one above or below it."""
    large = places[stats[places, 2:4].max(axis=1) >= MIN_SPECK * HEIGHT]
    ordered = sorted(large.tolist(), key=lambda place: (stats[place, 3] < MIN_TALL * HEIGHT, stats[place, 0]))
    groups: list[list[int]] = []
    for place in ordered:  # tall ones first
        left, width, low = stats[place, 0], stats[place, 2], stats[place, 3] < MIN_TALL * HEIGHT
        shared = [_shared_columns(stats, members, left, width) for members in groups]
        if low and shared and max(shared) >= MIN_OVERLAP * width:
            groups[int(np.argmax(shared))].append(place)
        else:
            groups.append([place])
    return sorted(groups, key=lambda members: min(stats[place, 0] for place in members))


def _shared_columns(stats: NDArray[np.int32], members: Sequence[int], left: int, width: int) -> int:
    start = min(stats[place, 0] for place in members)
    end = max(stats[place, 0] + stats[place, 2] for place in members)
    return int(min(end, left + width) - max(start, left))


def _cuts(ink: Bytes) -> list[int]:
    """The columns at which ink may be cut: where little of it or a low part of it is, and within wide pieces."""
    left, _, width, _ = cv2.boundingRect(ink)
    part = ink[:, left : left + width]
    rows = np.arange(len(part))[:, None]
    amount = _smooth(part.sum(axis=0) / 255)
    extent = _smooth(np.where(part, rows, -1).max(axis=0) - np.where(part, rows, len(part)).min(axis=0) + 1)
    cost = amount + extent / 2
    minima = {place for profile in (amount, extent) for place in _minima(profile)}
    ends = [0, width]
    for place in sorted(minima, key=lambda place: cost[place]):
        if min(abs(place - other) for other in ends) >= MIN_SPACING * HEIGHT:
            ends.append(place)
    for start, end in pairwise(sorted(ends)):
        if end - start > MAX_PIECE * HEIGHT:
            inner = np.arange(start + (end - start) // 3, end - (end - start) // 3)
            ends.append(int(inner[cost[inner].argmin()]))
    return [left + place for place in sorted(ends)[1:-1]]


def _seams(ink: Bytes, columns: Sequence[int]) -> tuple[NDArray[np.int64], Floats]:
    """The paths from top to bottom with the least ink near some columns: (h, n) columns, ascending in each row.

    Also returns how many pixels of ink each cuts, (n,).
    """
    reach = round(REACH * HEIGHT)
    offsets = np.arange(-reach, reach + 1)
    padded = np.pad(ink, ((0, 0), (reach, reach))).astype(np.float64) / 255
    places = np.asarray(columns, np.int64)[:, None] + offsets
    costs = padded[:, places + reach] + DEVIATION * np.abs(offsets)  # (h, n, offsets)
    total, moves = costs[0], []
    for row in costs[1:]:
        wide = np.pad(total, ((0, 0), (1, 1)), constant_values=np.inf)
        choices = np.stack([wide[:, 1:-1], wide[:, :-2] + DEVIATION, wide[:, 2:] + DEVIATION])
        moves.append(np.array([0, -1, 1])[choices.argmin(axis=0)])
        total = choices.min(axis=0) + row
    at = total.argmin(axis=1)
    path = [at]
    for move in reversed(moves):
        path.append(at := at + move[np.arange(len(at)), at])
    seams = np.sort(np.take_along_axis(places, np.stack(path[::-1], axis=1), axis=1).T, axis=1)
    return seams, np.take_along_axis(padded, seams + reach, axis=1).sum(axis=0).astype(np.float32)


def _smooth(profile: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(profile.astype(np.float64), SMOOTHING // 2, mode="edge")
    return np.convolve(padded, np.full(SMOOTHING, 1 / SMOOTHING), mode="valid")


def _minima(profile: NDArray[np.float64]) -> list[int]:
    """The middles of the local minima."""
    steps = np.sign(np.round(np.diff(profile), 3))
    moves = np.flatnonzero(steps)
    return [int(before + after + 1) // 2 for before, after in pairwise(moves) if steps[before] < 0 < steps[after]]
