"""Photographs of digits on paper, simulated from MNIST's images, with the mask of the digits' ink.

Drawn at twice the final resolution in this order: paper, print (squares, rules, text), the digits' ink, marks around
them (a box, a circle, a line below), what lies around the paper, then light, the camera's blur, noise and compression.
"""

import math
import multiprocessing
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.segment import pad_to_square
from mnist_lightning.serving.resources import available_cores

Floats = NDArray[np.float32]
Color = NDArray[np.float32]  # (3,) in [0, 1]
Box = tuple[float, float, float, float]  # left, top, right, bottom
Points = NDArray[np.float64] | Sequence[tuple[float, float]]

SUPERSAMPLING = 2
NUMBERS, MAX_DIGITS = 0.25, 5  # fraction of the photographs with several digits, and at most so many
CHUNK = 50  # photographs that a process draws at once
FIXED_POINT = 4  # fractional bits of the coordinates that OpenCV draws at
TEXTS = ("Name", "Date", "Total", "Nr.", "Page", "Sum", "Seite", "Points", "Question", "No.", "EUR", "Score")


@dataclass(frozen=True)
class Photograph:
    """A simulated photograph."""

    image: Bytes  # (H, W, 3)
    mask: Bytes  # (H, W), 0 to 255: how much of the pixel the digits' ink covers


@dataclass
class Page:
    """A photograph that is being drawn, before light and camera."""

    rng: Generator
    height: int
    width: int
    paper: Color = field(init=False)
    ink: Color = field(init=False)
    colors: Floats = field(init=False)  # (H, W, 3) in [0, 1]
    mask: Floats = field(init=False)  # (H, W) in [0, 1]
    box: Box = (0, 0, 0, 0)  # of the digits
    pen: float = 1.0  # stroke width of the digits in pixels

    def __post_init__(self) -> None:
        self.paper, self.ink = random_colors(self.rng)
        self.colors = np.broadcast_to(self.paper, (self.height, self.width, 3)).copy()
        self.mask = np.zeros((self.height, self.width), np.float32)

    @property
    def side(self) -> int:
        """The longest side."""
        return max(self.height, self.width)

    def put(self, coverage: Floats, color: Color) -> None:
        """Draw a color where `coverage` (H, W) says how much, in [0, 1]."""
        for channel, value in enumerate(color):  # in place, a channel at a time
            own = self.colors[..., channel]
            own += coverage * (value - own)

    def print_color(self) -> Color:
        """The color of something printed: fainter than the ink, and often in another color."""
        target = self.ink if self.rng.random() < 0.35 else random_ink(self.rng, self.paper)
        return mix(self.paper, target, self.rng.uniform(0.12, 0.85))

    def lines(self, points: Sequence[Points], width: float, *, closed: bool = False) -> Floats:
        """The coverage of polylines with a stroke width in pixels; narrower ones than a pixel are faint."""
        canvas = np.zeros((self.height, self.width), np.uint8)
        fixed = [np.round(np.asarray(line) * (1 << FIXED_POINT)).astype(np.int32) for line in points]
        value = int(255 * min(width, 1.0))
        cv2.polylines(canvas, fixed, closed, value, max(1, round(width)), cv2.LINE_AA, FIXED_POINT)
        return as_coverage(canvas)


def as_coverage(canvas: Bytes) -> Floats:
    """0 to 255 as [0, 1]."""
    return canvas.astype(np.float32) * np.float32(1 / 255)


def photographs(digits: Bytes, count: int, seed: int, side: int) -> tuple[Bytes, Bytes]:
    """Simulate many photographs, on all processor cores; the same arguments give the same ones.

    Args:
        digits: MNIST's images, (N, 28, 28), to draw from.
        count: how many photographs.
        seed: determines them.
        side: sides in pixels; the photographs are padded to squares.

    Returns:
        The photographs (count, side, side, 3), and masks of the digits' ink (count, side, side), 0 to 255.

    Raises BrokenProcessPool if a process is killed.
    """
    images, masks = np.empty((count, side, side, 3), np.uint8), np.empty((count, side, side), np.uint8)
    tasks = [(seed, range(first, min(first + CHUNK, count)), side) for first in range(0, count, CHUNK)]
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads could hang
    with ProcessPoolExecutor(available_cores(), context, _share, (digits,)) as pool:
        try:
            for (_, places, _), (part, part_masks) in zip(tasks, pool.map(_draw_chunk, tasks), strict=True):
                images[places.start : places.stop], masks[places.start : places.stop] = part, part_masks
        except BaseException:
            pool.shutdown(cancel_futures=True)  # otherwise the rest would be drawn before the error is seen
            raise
    return images, masks


_shared: list[Bytes] = []  # the digits, in a process that draws


def _share(digits: Bytes) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    cv2.setNumThreads(1)
    _shared.append(digits)


def _draw_chunk(task: tuple[int, range, int]) -> tuple[Bytes, Bytes]:
    seed, places, side = task
    images, masks = [], []
    for place in places:
        rng = np.random.default_rng([seed, place])
        count = int(rng.integers(2, MAX_DIGITS + 1)) if rng.random() < NUMBERS else 1
        made = photograph(list(_shared[0][rng.integers(0, len(_shared[0]), count)]), rng, side)
        images.append(pad_to_square(made.image, side, cv2.BORDER_REPLICATE))
        masks.append(pad_to_square(made.mask, side, cv2.BORDER_CONSTANT))
    return np.stack(images), np.stack(masks)


def random_colors(rng: Generator) -> tuple[Color, Color]:
    """A light paper and a darker ink."""
    value, tint = rng.uniform(0.55, 1.0), rng.uniform(0, 0.16) if rng.random() < 0.85 else rng.uniform(0.16, 0.5)
    paper = (value * (1 - tint * rng.random(3))).astype(np.float32)
    return paper, random_ink(rng, paper)


def random_ink(rng: Generator, paper: Color) -> Color:
    """A color that contrasts with the paper: black, pencil, blue, red, green or any."""
    base = np.array(
        [(0.08, 0.08, 0.1), (0.3, 0.3, 0.32), (0.1, 0.18, 0.6), (0.7, 0.1, 0.15), (0.08, 0.4, 0.2), rng.random(3) * 0.6]
    )[rng.choice(6, p=(0.3, 0.15, 0.28, 0.15, 0.04, 0.08))]
    color = (base + rng.normal(0, 0.05, 3)).clip(0, 1).astype(np.float32)
    strength = rng.uniform(0.45, 1.0) if rng.random() < 0.4 else 1.0  # a hard pencil, a thin pen
    return mix(paper, color * paper, strength)


def mix(first: Color, second: Color, share: float) -> Color:
    """A color between two."""
    return np.asarray(first + share * (second - first), dtype=np.float32)


def strokes(digit: Bytes, height: float, rng: Generator) -> Floats:
    """The ink (h, w) in [0, 1] of a digit (28, 28), cropped, with a box about `height` pixels high or wide.

    Edges are as sharp as a pen's. Six in ten are drawn anew along their middle with a pen of even width.
    """
    scale = height / 20
    side = max(8, round(28 * scale))
    smooth = cv2.resize(digit, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32) / 255
    ink = np.clip((smooth - 0.5) * max(scale, 1) + 0.5, 0, 1).astype(np.float32)
    if rng.random() < 0.6:
        ink = redraw(ink, max(1.2, height * math.exp(rng.uniform(math.log(0.018), math.log(0.11)))))
    angle, slant = math.radians(rng.uniform(-12, 12)), rng.uniform(-0.2, 0.2)
    matrix = np.array([[math.cos(angle), math.sin(angle) + slant], [-math.sin(angle), math.cos(angle)]])
    matrix *= np.exp(rng.uniform(-0.12, 0.12, 2))[:, None]
    reach = math.ceil(side * 1.5)
    offset = np.array([reach / 2, reach / 2]) - matrix @ np.array([side / 2, side / 2])
    turned = cv2.warpAffine(ink, np.column_stack([matrix, offset]), (reach, reach), flags=cv2.INTER_LINEAR)
    left, top, width, tall = cv2.boundingRect((turned > 0.25).astype(np.uint8))
    return np.asarray(turned[top : top + tall, left : left + width], dtype=np.float32)


def redraw(ink: Floats, width: float) -> Floats:
    """The ink with strokes of an even width along the middle of its own."""
    depth = cv2.distanceTransform((ink > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    reach = max(3, round(float(depth.max())) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    middle = (depth > 0.72 * cv2.dilate(depth, kernel)) & (depth > 0.5)
    distance = cv2.distanceTransform((~middle).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(np.clip(width / 2 - distance + 0.5, 0, 1), dtype=np.float32)


def place_digits(page: Page, digits: Sequence[Bytes]) -> None:
    """Write one or more digits side by side at a random place."""
    rng, count = page.rng, len(digits)
    most = min(0.86 * page.height, 0.86 * page.width / (0.75 * count))
    least = min(0.2 * page.side, most) if count == 1 else min(0.14 * page.side, most)
    height = math.exp(rng.uniform(math.log(least), math.log(most)))
    inks = [strokes(digit, height * rng.uniform(0.85, 1.1), rng) for digit in digits]
    gaps = [0.0] + [height * rng.uniform(-0.05, 0.35) for _ in inks[1:]]
    across = sum(ink.shape[1] for ink in inks) + sum(gaps)
    x = rng.uniform(0.02, 1) * max(0.0, page.width - across - 4)
    y = rng.uniform(0, 1) * max(0.0, page.height - 1.15 * height)
    slope = rng.uniform(-0.08, 0.08)
    right, boxes = x, []
    for ink, gap in zip(inks, gaps, strict=True):
        left = right + gap
        top = y + height * rng.uniform(0, 0.1) + slope * (left - x) + (height - ink.shape[0]) * rng.uniform(0.3, 1)
        boxes.append(_paste(page.mask, ink, round(left), round(top)))
        right = left + ink.shape[1]
    corners = np.array(boxes, dtype=np.float64)
    page.box = (*corners[:, :2].min(axis=0), *corners[:, 2:].max(axis=0))
    solid = page.mask > 0.5
    outlines, _ = cv2.findContours(solid.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    length = sum(cv2.arcLength(outline, True) for outline in outlines)
    page.pen = 2 * np.count_nonzero(solid) / max(length, 1.0)


def _paste(canvas: Floats, ink: Floats, left: int, top: int) -> Box:
    """Draw ink onto a canvas, moved as far as needed to lie in it; its box."""
    height, width = (min(have, room) for have, room in zip(ink.shape, canvas.shape, strict=True))
    top, left = min(max(top, 0), canvas.shape[0] - height), min(max(left, 0), canvas.shape[1] - width)
    part = canvas[top : top + height, left : left + width]
    np.maximum(part, ink[:height, :width], out=part)
    return left, top, left + width, top + height


def _parallels(page: Page, angle: float, pitch: float, width: float, first: float) -> Floats:
    """The coverage of parallel lines over the whole page; `first` in [0, 1) shifts them, as a fraction of the pitch."""
    direction = np.array([math.cos(angle), math.sin(angle)])
    normal, middle = np.array([-direction[1], direction[0]]), np.array([page.width, page.height]) / 2
    reach = 0.75 * (page.width + page.height)
    steps = np.arange((first - reach // pitch) * pitch, reach, pitch)
    ends = np.stack([-reach * direction, reach * direction])
    return page.lines([middle + step * normal + ends for step in steps], width)


def _print_squares(page: Page) -> None:
    rng = page.rng
    tilt, pitch = math.radians(rng.normal(0, 4)), page.side * math.exp(rng.uniform(math.log(0.05), math.log(0.35)))
    width = min(pitch / 6, SUPERSAMPLING * math.exp(rng.uniform(math.log(0.35), math.log(2.6))))
    upright = math.pi / 2 + tilt + math.radians(rng.normal(0, 1.5))
    color, pitches = page.print_color(), (pitch, pitch * math.exp(rng.normal(0, 0.05)))
    heavier = rng.random() < 0.15  # every fifth line
    for angle, own in zip((tilt, upright), pitches, strict=True):
        first = rng.random()
        page.put(_parallels(page, angle, own, width, first), color)
        if heavier:
            page.put(_parallels(page, angle, 5 * own, 1.8 * width, first / 5), color)


def _print_rules(page: Page) -> None:
    rng = page.rng
    tilt, pitch = math.radians(rng.normal(0, 4)), page.side * math.exp(rng.uniform(math.log(0.1), math.log(0.7)))
    width = SUPERSAMPLING * math.exp(rng.uniform(math.log(0.35), math.log(2.6)))
    page.put(_parallels(page, tilt, pitch, width, rng.random()), page.print_color())
    if rng.random() < 0.25:  # a margin
        x = rng.choice([rng.uniform(0, 0.2), rng.uniform(0.8, 1)]) * page.width
        lean = math.tan(tilt) * page.height
        page.put(page.lines([[(x + lean / 2, 0), (x - lean / 2, page.height)]], width), page.print_color())


def _print_dots(page: Page) -> None:
    rng = page.rng
    pitch, canvas = page.side * rng.uniform(0.05, 0.14), np.zeros((page.height, page.width), np.uint8)
    radius = max(1, round(SUPERSAMPLING * rng.uniform(0.4, 1.2)))
    for y in np.arange(rng.uniform(0, pitch), page.height, pitch):
        for x in np.arange(rng.uniform(0, 0.1) * pitch, page.width, pitch):
            cv2.circle(canvas, (round(x), round(y)), radius, 255, -1, cv2.LINE_AA)
    page.put(as_coverage(canvas), page.print_color())


def _print_text(page: Page) -> None:
    """Words in print, smaller than the digits and beside them."""
    rng = page.rng
    left, top, right, bottom = page.box
    size = min(0.4 * (bottom - top), page.side * rng.uniform(0.04, 0.1))
    scale, canvas = size / 22, np.zeros((page.height, page.width), np.uint8)
    font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX]))
    for _ in range(int(rng.integers(1, 5))):
        text = str(rng.choice(TEXTS)) + str(rng.choice(["", ":", " ...", " 12", "?"]))
        (width, height), below = cv2.getTextSize(text, font, scale, 1)
        x, y = rng.uniform(0, max(1, page.width - width)), rng.uniform(height, page.height)
        apart = x > right or x + width < left or y - height > bottom or y + below < top
        if apart:
            thickness = max(1, round(scale * rng.uniform(1.5, 3)))
            cv2.putText(canvas, text, (round(x), round(y)), font, scale, 255, thickness, cv2.LINE_AA)
    page.put(as_coverage(canvas), mix(page.paper, random_ink(rng, page.paper), rng.uniform(0.5, 1)))


def _mark_color(page: Page) -> Color:
    """The color of a mark around the digits: their ink, or another one."""
    rng = page.rng
    return page.ink if rng.random() < 0.55 else mix(page.paper, random_ink(rng, page.paper), rng.uniform(0.35, 1))


def _mark_width(page: Page) -> float:
    return float(np.clip(page.pen * math.exp(page.rng.normal(0, 0.45)), 0.8, 0.06 * page.side))


def _mark_box(page: Page) -> None:
    rng = page.rng
    left, top, right, bottom = page.box
    height = bottom - top
    around = height * rng.uniform(0.03, 0.45, 4)
    corners = np.array(
        [
            (left - around[0], top - around[1]),
            (right + around[2], top - around[1]),
            (right + around[2], bottom + around[3]),
            (left - around[0], bottom + around[3]),
        ]
    )
    angle = math.radians(rng.normal(0, 3.5))
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = corners.mean(axis=0)
    turned = (corners - middle) @ rotation.T + middle + rng.normal(0, 0.01 * height, (4, 2))
    page.put(page.lines([turned], _mark_width(page), closed=True), _mark_color(page))


def _mark_circle(page: Page) -> None:
    """A circle by hand around the digits: uneven, sometimes open or overshooting, sometimes close to the ink."""
    rng = page.rng
    left, top, right, bottom = page.box
    middle = np.array([(left + right) / 2, (top + bottom) / 2]) + rng.normal(0, 0.04, 2) * (bottom - top)
    half = np.hypot(right - left, bottom - top) / 2 * rng.uniform(0.95, 1.5)
    radii = half * np.exp(rng.normal(0, 0.08, 2)) * (np.array([1 + (right - left) / (bottom - top), 2]) / 2).clip(1, 3)
    start, turn = rng.uniform(0, 2 * math.pi), 2 * math.pi * rng.uniform(0.94, 1.06)
    angles = np.linspace(start, start + turn, 72)
    wobble = 1 + rng.uniform(0, 0.05) * np.sin(rng.integers(2, 5) * angles + rng.uniform(0, 6))
    points = middle + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii * wobble[:, None]
    page.put(page.lines([points], _mark_width(page)), _mark_color(page))


def _mark_line(page: Page) -> None:
    """One line below the digits, or through their feet, across the page or as wide as they are."""
    rng = page.rng
    left, top, right, bottom = page.box
    height, tilt = bottom - top, math.tan(math.radians(rng.normal(0, 3.5)))
    y, middle = bottom + height * rng.uniform(-0.12, 0.18), (left + right) / 2
    ends = (-page.width, 2 * page.width) if rng.random() < 0.6 else (left - 0.2 * height, right + 0.2 * height)
    points = [(x, y + tilt * (x - middle)) for x in ends]
    page.put(page.lines([points], _mark_width(page)), _mark_color(page))


def _edge(page: Page) -> None:
    """The table beside the paper, with the shadow of the paper's straight or torn edge."""
    rng = page.rng
    left, top, right, bottom = page.box
    room = [left / page.width, 1 - right / page.width, top / page.height, 1 - bottom / page.height]
    place = int(np.argmax(np.array(room) * rng.uniform(0.5, 1, 4)))
    share = rng.uniform(0.15, 0.95) * room[place]
    steps = np.linspace(-0.1, 1.1, 25)
    bends = np.cumsum(rng.normal(0, 0.006 if rng.random() < 0.3 else 0.0, 25)) + rng.normal(0, 0.03) * (steps - 0.5)
    depth = np.clip(share + bends - bends.max(), -0.1, share)  # never over the digits
    edge = [(d, s) if place < 2 else (s, d) for d, s in zip(depth, steps, strict=True)]
    outside = [(-0.2, 1.1), (-0.2, -0.1)] if place < 2 else [(1.1, -0.2), (-0.1, -0.2)]
    points = np.array(edge + outside)
    axis = 0 if place < 2 else 1
    if place % 2:
        points[:, axis] = 1 - points[:, axis]
    polygon = np.round(points * (page.width, page.height)).astype(np.int32)
    canvas = np.zeros((page.height, page.width), np.uint8)
    cv2.fillPoly(canvas, [polygon], 255, cv2.LINE_AA)
    table = (rng.uniform(0.05, 0.9) * (1 - 0.5 * rng.random(3))).astype(np.float32)
    grain = cv2.resize(rng.normal(0, 0.06, (int(rng.integers(4, 40)), int(rng.integers(4, 40)))), canvas.shape[::-1])
    coverage = as_coverage(canvas)
    if rng.random() < 0.6:
        soft = cv2.GaussianBlur(coverage, (0, 0), SUPERSAMPLING * rng.uniform(1, 6))
        page.colors *= 1 - (rng.uniform(0.1, 0.5) * soft * (1 - coverage))[..., None]
    page.put(coverage, table)
    page.colors += (coverage * grain)[..., None].astype(np.float32)
    page.mask *= 1 - coverage


def _holes(page: Page) -> None:
    """Perforation along a side."""
    rng = page.rng
    left, _, right, _ = page.box
    radius = page.side * rng.uniform(0.01, 0.05)
    lanes = [x for x in (1.6 * radius, page.width - 1.6 * radius) if x + radius < left or x - radius > right]
    if not lanes:
        return
    canvas, x = np.zeros((page.height, page.width), np.uint8), float(rng.choice(lanes))
    for y in np.arange(rng.uniform(0, 4) * radius, page.height, radius * rng.uniform(3, 12)):
        cv2.circle(canvas, (round(x), round(y)), round(radius), 255, -1, cv2.LINE_AA)
    page.put(as_coverage(canvas), (page.paper * rng.uniform(0.2, 0.8)).astype(np.float32))


def _stains(page: Page) -> None:
    rng = page.rng
    canvas = np.zeros((page.height, page.width), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        middle = (int(rng.integers(page.width)), int(rng.integers(page.height)))
        axes = (rng.uniform(0.03, 0.25, 2) * page.side).astype(int).tolist()
        ring = -1 if rng.random() < 0.6 else max(1, round(page.side * rng.uniform(0.01, 0.03)))
        cv2.ellipse(canvas, middle, axes, rng.uniform(0, 180), 0, 360, 255, ring, cv2.LINE_AA)
    soft = cv2.GaussianBlur(as_coverage(canvas), (0, 0), page.side * rng.uniform(0.005, 0.04))
    shade = (page.paper * (1 - rng.uniform(0.1, 0.4) * rng.random(3))).astype(np.float32)
    page.put(soft * np.float32(rng.uniform(0.3, 1)), shade)


def _creases(page: Page) -> None:
    rng = page.rng
    for _ in range(int(rng.integers(1, 3))):
        ends = rng.uniform(-0.2, 1.2, (2, 2)) * (page.width, page.height)
        line = page.lines([ends], SUPERSAMPLING * rng.uniform(0.5, 3))
        soft = cv2.GaussianBlur(line, (0, 0), SUPERSAMPLING * rng.uniform(0.5, 2))
        page.put(soft * np.float32(rng.uniform(0.3, 1)), (page.paper * rng.uniform(0.7, 1.15)).astype(np.float32))


def _specks(page: Page) -> None:
    rng, canvas = page.rng, np.zeros((page.height, page.width), np.uint8)
    for _ in range(int(rng.integers(3, 30))):
        middle = (int(rng.integers(page.width)), int(rng.integers(page.height)))
        cv2.circle(canvas, middle, int(rng.integers(1, 4)), int(rng.integers(80, 255)), -1, cv2.LINE_AA)
    page.put(as_coverage(canvas), random_ink(rng, page.paper))


Step = Callable[[Page], None]
NOTHING: tuple[Step, ...] = ()
# By kind: what is drawn below the ink and above it, and how often of 100.
KINDS: Mapping[str, tuple[tuple[Step, ...], tuple[Step, ...], float]] = {
    "plain": (NOTHING, NOTHING, 16),
    "squared": ((_print_squares,), NOTHING, 30),
    "ruled": ((_print_rules,), NOTHING, 15),
    "dotted": ((_print_dots,), NOTHING, 3),
    "underlined": (NOTHING, (_mark_line,), 12),
    "boxed": (NOTHING, (_mark_box,), 12),
    "circled": (NOTHING, (_mark_circle,), 12),
}
# What any kind may have besides, and the probability.
EXTRAS: Mapping[Step, float] = {
    _print_text: 0.08,
    _edge: 0.15,
    _holes: 0.05,
    _stains: 0.08,
    _creases: 0.06,
    _specks: 0.06,
}


def photograph(digits: Sequence[Bytes], rng: Generator, side: int, kind: str | None = None) -> Photograph:
    """Simulate a photograph of digits, (28, 28) white on black, written side by side on paper.

    Args:
        digits: one or more.
        rng: everything else is drawn from it.
        side: longest side in pixels.
        kind: a key of KINDS; by default one of them at random.
    """
    full = side * SUPERSAMPLING
    other = round(full * float(rng.choice([1.0, 0.75, 0.75, 0.56, rng.uniform(0.5, 1)])))
    height, width = (full, other) if rng.random() < 0.5 else (other, full)
    if kind is None:
        shares = np.array([share for _, _, share in KINDS.values()])
        kind = str(rng.choice(list(KINDS), p=shares / shares.sum()))
    below, above, _ = KINDS[kind]
    page = Page(rng, height // SUPERSAMPLING * SUPERSAMPLING, width // SUPERSAMPLING * SUPERSAMPLING)
    place_digits(page, digits)
    extras = [step for step, chance in EXTRAS.items() if rng.random() < chance]
    for step in (*(step for step in extras if step is not _edge), *below):
        step(page)
    page.put(page.mask, page.ink)
    for step in (*above, *(step for step in extras if step is _edge)):
        step(page)
    return _develop(page)


def _develop(page: Page) -> Photograph:
    """Apply light and camera, and reduce to the final size."""
    rng, size = page.rng, (page.width // SUPERSAMPLING, page.height // SUPERSAMPLING)
    image, mask = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (page.colors, page.mask))
    exposed = _expose(np.asarray(image * _light(size[1], size[0], rng)[..., None], dtype=np.float32), rng)
    if rng.random() < 0.33:
        exposed = exposed.max() - exposed  # a board
    return Photograph(_store(_to_bytes(exposed), rng), _to_bytes(np.asarray(mask, dtype=np.float32)))


def _expose(image: Floats, rng: Generator) -> Floats:
    """Blur an image (H, W, 3), and add gray or colored, fine or coarse noise."""
    if rng.random() < 0.6:
        blur = math.exp(rng.uniform(math.log(0.3), math.log(2.0)))
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur), dtype=np.float32)
    channels = 1 if rng.random() < 0.5 else 3
    noise = rng.normal(0, 1, (*image.shape[:2], channels)).astype(np.float32)
    if rng.random() < 0.3:
        noise = 2 * np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.9), dtype=np.float32).reshape(noise.shape)
    return np.asarray(image + noise * rng.uniform(0, 0.03), dtype=np.float32)


def _store(pixels: Bytes, rng: Generator) -> Bytes:
    """Remove the colors, and compress; either sometimes."""
    if rng.random() < 0.15:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    if rng.random() < 0.4:
        _, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))])
        pixels = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), dtype=np.uint8)
    return pixels


def _to_bytes(image: Floats) -> Bytes:
    return np.asarray((image * 255).round().clip(0, 255), dtype=np.uint8)


def _light(height: int, width: int, rng: Generator) -> Floats:
    """The light on every pixel, (H, W): a gradient, the shadow of a hand, darker corners."""
    ys, xs = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    light = np.full((height, width), rng.uniform(0.6, 1.05), np.float32)
    if rng.random() < 0.6:
        angle = rng.uniform(0, 2 * math.pi)
        along = xs * math.cos(angle) + ys * math.sin(angle)
        along -= along.min()
        light *= 1 - rng.uniform(0, 0.5) * along / along.max()
    if rng.random() < 0.3:
        angle = rng.uniform(0, 2 * math.pi)
        along = xs * math.cos(angle) + ys * math.sin(angle)
        along += rng.uniform(0, 0.05) * np.sin(xs * rng.uniform(3, 20) + ys * rng.uniform(3, 20))
        border, softness = rng.uniform(along.min(), along.max()), rng.uniform(4, 60)
        light *= 1 - rng.uniform(0.1, 0.45) / (1 + np.exp(-softness * (along - border)))
    if rng.random() < 0.2:
        light *= 1 - rng.uniform(0.1, 0.5) * ((xs - xs.mean()) ** 2 + (ys - ys.mean()) ** 2)
    return np.asarray(light, dtype=np.float32)
