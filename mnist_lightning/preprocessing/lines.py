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
from mnist_lightning.preprocessing.strokes import SOFT_EDGE, fit_stroke_width, reduce

Floats = NDArray[np.float64]
Matrix = NDArray[np.float64]  # (2, 3), from an ink's pixels to another image's

STRIP_HEIGHT, DIGIT_HEIGHT = 32, 20  # pixels
SUPERSAMPLING = 2  # of a strip when its strokes are brought to their width
MARGIN = 6  # pixels of paper at both ends of a strip
MAX_STRIP, MAX_STRIPS = 2_048, 4_000  # pixels: a longer line, or longer lines together, are no number
NEAR = 0.45  # of the digits' height: a low component that is farther from a line is none of it
MIN_PART = 0.5  # of the digits' height: a lower component is a dot, a comma, a dash or a part of a digit
MIN_SPECK = 0.1  # of the digits' height: what is smaller in both directions is noise
MIN_SHARED_ROWS = 0.4  # of the lower one's height: components of one line that lie side by side
MAX_PARTS, MAX_LINES = 256, 32  # of one picture
MAX_GAP = 2.5  # of the digits' height, between neighbors of one line
MIN_HEIGHT = 4.0  # pixels of digits in the ink
MIN_LENGTH = 1.2  # of a line whose slope is measured, in heights of its digits
MAX_SLOPE = math.tan(math.radians(16))


@dataclass(frozen=True)
class Line:
    """A line of writing."""

    strip: Bytes  # (STRIP_HEIGHT, W), 0 to 255: its ink, level, with digits of DIGIT_HEIGHT
    fine: Bytes  # the same at SUPERSAMPLING times the resolution
    matrix: Matrix  # from positions in the ink, in pixels, to those in the strip
    limits: tuple[int, int]  # width and height of the ink

    def box_in_ink(self, box: Sequence[float]) -> tuple[float, float, float, float]:
        """The upright box in the ink around a box in the strip, both in their pixels as left, top, width, height."""
        left, top, width, height = box
        corners = np.array([(x, y) for x in (left, left + width) for y in (top, top + height)])
        back = cv2.invertAffineTransform(self.matrix)
        points = corners @ back[:, :2].T + back[:, 2]
        inside = points.clip(0, self.limits)
        (x, y), (right, bottom) = inside.min(axis=0).tolist(), inside.max(axis=0).tolist()
        return x, y, right - x, bottom - y


def find_lines(ink: Bytes) -> list[Line]:
    """The lines in ink (h, w) of 0 to 255, from top to bottom; none if there is no strong ink, or far too much."""
    labels, places, parts = _components(ink)
    if not len(places):
        return []
    height = digit_height(parts)
    kept = (parts[:, 2:4].max(axis=1) >= MIN_SPECK * height) | (len(parts) == 1)
    places, parts = places[kept], parts[kept]
    if len(parts) > MAX_PARTS or len(grouped := group(parts, height)) > MAX_LINES:
        return []
    lines = []
    for members in grouped:
        chosen = np.zeros(int(labels.max()) + 1, np.uint8)
        chosen[places[members]] = 1
        line = _cut(ink, chosen[labels], parts[members])
        if line is not None:
            lines.append(line)
    return lines if sum(line.strip.shape[1] for line in lines) <= MAX_STRIPS else []


def measure(ink: Bytes) -> tuple[int, float]:
    """The count of components in ink (h, w) of 0 to 255, and the height of its digits; zeros without strong ink."""
    _, places, parts = _components(ink)
    return len(places), digit_height(parts) if len(places) else 0.0


def _components(ink: Bytes) -> tuple[NDArray[np.uint16], NDArray[np.int64], Floats]:
    """Labels (h, w) of connected components, those with strong ink (n,), and their statistics (n, 5)."""
    _, weak = cv2.threshold(ink, WEAK * 255, 1, cv2.THRESH_BINARY)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(weak, None, None, None, 8, cv2.CV_16U)
    strong = np.bincount(labels[ink > STRONG * 255], minlength=count) > 0
    strong[0] = False  # the paper
    places = np.flatnonzero(strong)
    return np.asarray(labels, dtype=np.uint16), places, stats[places].astype(np.float64)


def digit_height(parts: Floats) -> float:
    """The height of most of the ink: the median over components (n, 5), weighted by area."""
    order = np.argsort(parts[:, 3])
    weights = np.cumsum(parts[order, 4])
    return float(parts[order[np.searchsorted(weights, weights[-1] / 2)], 3])


def group(parts: Floats, height: float) -> list[NDArray[np.int64]]:
    """Which components (n, 5) form lines of digits of a height, from top to bottom.

    Low ones belong to the line that they stand in, or else to the nearest one; those that are far from all lines form
    lines of smaller writing.
    """
    is_large = parts[:, 3] >= MIN_PART * height
    large = np.flatnonzero(is_large)
    left, top, width, tall, _ = parts[large].T
    right, bottom = left + width, top + tall
    shared = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    gap = np.maximum(left[:, None], left) - np.minimum(right[:, None], right)
    linked = (shared >= MIN_SHARED_ROWS * np.minimum(tall[:, None], tall)) & (gap <= MAX_GAP * height)
    owner = np.full(len(parts), -1)
    owner[large] = _connected(linked)
    bands = np.array([_bounds(parts[owner == line]) for line in range(owner.max() + 1)])
    for place in np.flatnonzero(~is_large):
        x, y = _middles(parts[place][None])[:, 0]
        within = (bands[:, 1] <= y) & (y <= bands[:, 3]) & (bands[:, 0] - height <= x) & (x <= bands[:, 2] + height)
        nearest, distance = _nearest(parts[large], parts[place])
        if distance <= NEAR * height:
            owner[place] = owner[large[nearest]]
        elif within.any():
            owner[place] = within.argmax()
    found = [np.flatnonzero(owner == line) for line in range(owner.max() + 1)]
    rest = np.flatnonzero(owner < 0)
    if len(rest):
        found += [rest[line] for line in group(parts[rest], digit_height(parts[rest]))]
    return sorted(found, key=lambda line: float(np.average(_middles(parts[line])[1], weights=parts[line, 3])))


def _connected(linked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of each node's connected component, (n,), of a symmetric relation (n, n)."""
    owner = np.arange(len(linked))
    while True:
        lowest = np.where(linked, owner, len(owner)).min(axis=1)
        lowest = lowest[lowest]  # reaches far components in few rounds
        if (lowest == owner).all():
            return np.unique(owner, return_inverse=True)[1]
        owner = lowest


def _nearest(parts: Floats, part: Floats) -> tuple[int, float]:
    """The component (n, 5) nearest to another one (5,), and its distance."""
    left, top, width, tall, _ = part
    across = np.maximum(parts[:, 0] - left - width, left - parts[:, 0] - parts[:, 2]).clip(0)
    down = np.maximum(parts[:, 1] - top - tall, top - parts[:, 1] - parts[:, 3]).clip(0)
    distances = np.hypot(across, down)
    return int(distances.argmin()), float(distances.min())


def _bounds(parts: Floats) -> Floats:
    """Left, top, right and bottom of components (n, 5) together."""
    return np.concatenate([parts[:, :2].min(axis=0), (parts[:, :2] + parts[:, 2:4]).max(axis=0)])


def _middles(parts: Floats) -> Floats:
    """The middles of components (n, 5), (2, n) as x, y."""
    return parts[:, :2].T + parts[:, 2:4].T / 2


def _cut(ink: Bytes, mask: Bytes, parts: Floats) -> Line | None:
    """The line of the components (n, 5) in a mask; None if they are too long for a number."""
    large = parts[parts[:, 3] >= MIN_PART * digit_height(parts)]
    slope = _slope(mask, large)
    angle = math.atan(slope)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    left, top, width, tall, _ = parts.T
    corners = np.stack([(left, top), (left, top + tall), (left + width, top), (left + width, top + tall)])
    xs = (turn[0] @ corners).ravel()
    _, _, width, tall, area = large.T
    level = np.maximum(tall - abs(slope) * np.where(width > tall, width, 0), tall / 2)  # of digits that touch
    middles = turn[1] @ _middles(large)
    scale = DIGIT_HEIGHT / max(MIN_HEIGHT, float(np.average(level, weights=area)))
    start, middle = float(xs.min()), float(np.average(middles, weights=level))
    length = math.ceil((float(xs.max()) - start) * scale) + 2 * MARGIN
    if length > MAX_STRIP:
        return None
    matrix = np.column_stack([turn * scale, [MARGIN - start * scale, STRIP_HEIGHT / 2 - middle * scale]])
    fine = _fine_strip(ink, mask, matrix, length)
    strip = cv2.resize(fine, (length, STRIP_HEIGHT), interpolation=cv2.INTER_AREA)
    return Line(np.asarray(strip, dtype=np.uint8), fine, matrix, (ink.shape[1], ink.shape[0]))


def _slope(mask: Bytes, large: Floats) -> float:
    """How far a line falls for each pixel to the right: of its components' middles, or of the ink if they touch."""
    left, _, width, tall, _ = large.T
    height = float(np.median(tall))
    length = float((left + width).max() - left.min()) / height
    certainty = min(1.0, max(0.0, length - MIN_LENGTH))  # a single digit's slant is no slope
    if not certainty:
        return 0.0
    x, y = _middles(large)
    if np.ptp(x) > height:
        slope = _fit(x, y, tall)
    else:
        rows, columns = np.nonzero(mask)
        slope = _fit(columns.astype(np.float64), rows.astype(np.float64), np.ones(len(rows)))
    return certainty * min(MAX_SLOPE, max(-MAX_SLOPE, slope))


def _fit(x: Floats, y: Floats, weights: Floats) -> float:
    """The slope of y over x, by weighted least squares."""
    offset = x - np.average(x, weights=weights)
    return float((weights * offset) @ y / max(float((weights * offset) @ offset), 1e-6))


def _fine_strip(ink: Bytes, mask: Bytes, matrix: Matrix, width: int) -> Bytes:
    """The ink of a mask in the strip's place, SUPERSAMPLING times as large, with strokes as wide as MNIST's."""
    left, top, across, down = cv2.boundingRect(mask)
    top, left, bottom, right = max(0, top - 1), max(0, left - 1), top + down + 1, left + across + 1
    window = slice(top, bottom), slice(left, right)
    own = np.asarray(cv2.multiply(ink[window], cv2.dilate(mask[window], SOFT_EDGE)), dtype=np.uint8)
    height, length = own.shape
    scale = SUPERSAMPLING * math.hypot(matrix[0, 0], matrix[1, 0])
    small = own if scale >= 1 else reduce(own, scale)  # a linear map loses thin strokes
    local = SUPERSAMPLING * matrix
    local[:, 2] += local[:, :2] @ (left, top)
    local[:, :2] *= length / small.shape[1], height / small.shape[0]
    size = width * SUPERSAMPLING, STRIP_HEIGHT * SUPERSAMPLING
    return fit_stroke_width(
        np.asarray(cv2.warpAffine(small, _between_centers(local), size), dtype=np.uint8), SUPERSAMPLING
    )


def _between_centers(matrix: Matrix) -> Matrix:
    """A map of positions as OpenCV takes it, whose pixels have their centers at whole numbers."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    return shifted
