"""Find lines of writing in ink, and bring each to a strip of even height for the line reader.

A line's parts are connected components that lie side by side. The line is turned level and scaled so that its digits
are DIGIT_HEIGHT pixels high; the network that reads the strip tolerates what remains of slope and uneven heights.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mnist_lightning.preprocessing.components import STRONG, WEAK
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.normalize import SOFT_EDGE, fit_stroke_width, reduce

Floats = NDArray[np.float64]
Matrix = NDArray[np.float64]  # (2, 3), from an ink's pixels to another image's

STRIP_HEIGHT, DIGIT_HEIGHT = 32, 20  # pixels
SUPERSAMPLING = 2  # of a strip when its strokes are brought to their width
MARGIN = 6  # pixels of paper at both ends of a strip
MAX_STRIP = 2_048  # pixels: a longer line is no number
MIN_PART = 0.35  # of the digits' height: a lower component is a dot, a comma, a dash or a part of a digit
MIN_SPECK = 0.1  # of the digits' height: what is smaller in both directions is noise
MIN_SHARED_ROWS = 0.4  # of the lower one's height: components of one line that lie side by side
MAX_GAP = 2.5  # of the digits' height, between neighbors of one line
MAX_SLOPE = math.tan(math.radians(16))


@dataclass(frozen=True)
class Line:
    """A line of writing."""

    strip: Bytes  # (STRIP_HEIGHT, W), 0 to 255: its ink, level, digits of DIGIT_HEIGHT
    matrix: Matrix  # from the ink's pixels to the strip's
    mask: Bytes  # of the line's components, (h, w) as the ink, 1 where they are

    @property
    def inverse(self) -> Matrix:
        """From the strip's pixels to the ink's."""
        return np.asarray(cv2.invertAffineTransform(self.matrix))


def find_lines(ink: Bytes) -> list[Line]:
    """The lines in ink (h, w) of 0 to 255, from top to bottom; none if there is no strong ink."""
    _, weak = cv2.threshold(ink, WEAK * 255, 1, cv2.THRESH_BINARY)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(weak, None, None, None, 8, cv2.CV_16U)
    strong = np.bincount(labels[ink > STRONG * 255], minlength=count) > 0
    strong[0] = False
    places = np.flatnonzero(strong)
    if not len(places):
        return []
    parts = stats[places].astype(np.float64)
    height = digit_height(parts)
    kept = (parts[:, 2:4].max(axis=1) >= MIN_SPECK * height) | (len(parts) == 1)
    places, parts = places[kept], parts[kept]
    lines = []
    for members in group(parts, height):
        chosen = np.zeros(count, np.uint8)
        chosen[places[members]] = 1
        line = _cut(ink, chosen[labels], parts[members])
        if line is not None:
            lines.append(line)
    return lines


def digit_height(parts: Floats) -> float:
    """The height of most of the ink: the median over components (n, 5), weighted by area."""
    order = np.argsort(parts[:, 3])
    weights = np.cumsum(parts[order, 4])
    return float(parts[order[np.searchsorted(weights, weights[-1] / 2)], 3])


def group(parts: Floats, height: float) -> list[NDArray[np.int64]]:
    """Which components (n, 5) form lines, from top to bottom."""
    large = np.flatnonzero(parts[:, 3] >= MIN_PART * height)
    if not len(large):
        return [np.arange(len(parts))]
    left, top, width, tall, _ = parts[large].T
    right, bottom = left + width, top + tall
    shared = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    gap = np.maximum(left[:, None], left) - np.minimum(right[:, None], right)
    linked = (shared >= MIN_SHARED_ROWS * np.minimum(tall[:, None], tall)) & (gap <= MAX_GAP * height)
    owner = _connected(linked)
    lines = [large[owner == line] for line in range(owner.max() + 1)]
    small = np.setdiff1d(np.arange(len(parts)), large)
    members = [list(line) for line in lines]
    for place in small:
        members[_nearest(parts, lines, place)].append(place)
    order = np.argsort([parts[line, 1] @ parts[line, 3] / parts[line, 3].sum() for line in lines])
    return [np.array(sorted(members[line])) for line in order]


def _connected(linked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of each node's connected component, (n,), of a symmetric relation (n, n)."""
    owner = np.arange(len(linked))
    while True:
        lowest = np.where(linked, owner, len(owner)).min(axis=1)
        if (lowest == owner).all():
            return np.unique(owner, return_inverse=True)[1]
        owner = lowest


def _nearest(parts: Floats, lines: Sequence[NDArray[np.int64]], place: int) -> int:
    """The line with the component nearest to another one."""
    left, top, width, tall, _ = parts[place]
    distances = []
    for line in lines:
        across = np.maximum(parts[line, 0] - left - width, left - parts[line, 0] - parts[line, 2]).clip(0)
        down = np.maximum(parts[line, 1] - top - tall, top - parts[line, 1] - parts[line, 3]).clip(0)
        distances.append(float(np.hypot(across, down).min()))
    return int(np.argmin(distances))


def _cut(ink: Bytes, mask: Bytes, parts: Floats) -> Line | None:
    """The strip of the components (n, 5) in a mask; None if they are too long for a number."""
    large = parts[parts[:, 3] >= MIN_PART * digit_height(parts)]
    slope = _slope(mask, large)
    angle = math.atan(slope)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    corners = (
        np.array([(x, y) for left, top, w, h, _ in parts for x in (left, left + w) for y in (top, top + h)]) @ turn.T
    )
    centers = np.stack([large[:, 0] + large[:, 2] / 2, large[:, 1] + large[:, 3] / 2], axis=1) @ turn.T
    tall = large[:, 3] - abs(slope) * np.minimum(large[:, 2], 6 * large[:, 3]) * (large[:, 2] > large[:, 3])
    height = max(4.0, float(np.average(np.maximum(tall, 1), weights=large[:, 4])))
    middle = float(np.average(centers[:, 1], weights=tall.clip(1)))
    scale = DIGIT_HEIGHT / height
    start = corners[:, 0].min()
    width = math.ceil((corners[:, 0].max() - start) * scale) + 2 * MARGIN
    if width > MAX_STRIP:
        return None
    matrix = np.column_stack([turn * scale, [MARGIN - start * scale, STRIP_HEIGHT / 2 - middle * scale]])
    return Line(_strip(ink, mask, matrix, width), matrix, mask)


def _slope(mask: Bytes, large: Floats) -> float:
    """How far a line falls for each pixel to the right, by least squares over its pixels; 0 for narrow ones."""
    left, right = large[:, 0].min(), (large[:, 0] + large[:, 2]).max()
    height = float(np.median(large[:, 3]))
    certainty = min(1.0, max(0.0, (right - left) / height - 1.2))  # a single digit's slant is no slope
    if not certainty:
        return 0.0
    if len(large) > 1:  # tops and bottoms of components: their ink is uneven
        x = large[:, 0] + large[:, 2] / 2
        y, weights = large[:, 1] + large[:, 3] / 2, large[:, 3]
        if np.ptp(x) > height:
            slope = _fit(x, y, weights)
            return certainty * float(np.clip(slope, -MAX_SLOPE, MAX_SLOPE))
    ys, xs = np.nonzero(mask)
    return certainty * float(np.clip(_fit(xs, ys, np.ones(len(xs))), -MAX_SLOPE, MAX_SLOPE))


def _fit(x: NDArray, y: NDArray, weights: NDArray) -> float:
    dx = x - np.average(x, weights=weights)
    return float((weights * dx) @ y / max((weights * dx) @ dx, 1e-6))


def _strip(ink: Bytes, mask: Bytes, matrix: Matrix, width: int) -> Bytes:
    """The ink of a mask in the strip's place, with strokes of a width that MNIST's have."""
    left, top, across, down = cv2.boundingRect(mask)
    window = slice(max(0, top - 1), top + down), slice(max(0, left - 1), left + across)
    own = np.asarray(cv2.multiply(ink[window], cv2.dilate(mask[window], SOFT_EDGE)), dtype=np.uint8)
    scale = SUPERSAMPLING * math.hypot(matrix[0, 0], matrix[1, 0])
    if scale < 1:  # a linear map alone would lose thin strokes
        own = reduce(own, scale)
    to_own = np.diag(np.array(own.shape[::-1]) / (window[1].stop - window[1].start, window[0].stop - window[0].start))
    local = SUPERSAMPLING * matrix
    local[:, 2] += local[:, :2] @ (window[1].start, window[0].start)
    local[:, :2] @= np.linalg.inv(to_own)
    size = width * SUPERSAMPLING, STRIP_HEIGHT * SUPERSAMPLING
    large = np.asarray(cv2.warpAffine(own, _between_centers(local), size), dtype=np.uint8)
    even = fit_stroke_width(large, SUPERSAMPLING)
    return np.asarray(cv2.resize(even, (width, STRIP_HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _between_centers(matrix: Matrix) -> Matrix:
    """A map of positions as OpenCV takes it, whose pixels have their centers at whole numbers."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    return shifted
