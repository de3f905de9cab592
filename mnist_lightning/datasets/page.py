"""A page with handwritten digits that is being drawn: colors, pens, and the digits' ink."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.strokes import stroke_width

Floats = NDArray[np.float32]
Color = NDArray[np.float32]  # (3,) in [0, 1]
Box = tuple[float, float, float, float]  # left, top, right, bottom
Points = NDArray[np.float64] | Sequence[tuple[float, float]]

FIXED_POINT = 4  # fractional bits of the coordinates that OpenCV draws at


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

    def canvas(self) -> Bytes:
        """An empty canvas (H, W) for OpenCV to draw on."""
        return np.zeros((self.height, self.width), np.uint8)

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
        canvas = self.canvas()
        fixed = [np.round(np.asarray(line) * (1 << FIXED_POINT)).astype(np.int32) for line in points]
        value = int(255 * min(width, 1.0))
        cv2.polylines(canvas, fixed, closed, value, max(1, round(width)), cv2.LINE_AA, FIXED_POINT)
        return as_coverage(canvas)


def as_coverage(canvas: Bytes) -> Floats:
    """0 to 255 as [0, 1]."""
    return canvas.astype(np.float32) * np.float32(1 / 255)


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """A number in [low, high) whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


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


@dataclass(frozen=True)
class Hand:
    """How somebody writes."""

    width: float  # of the pen's strokes, as a fraction of the digits' height
    redrawn: bool  # with a pen of that even width; otherwise digits keep the strokes that they have
    angle: float  # radians, counterclockwise
    slant: float
    stretch: tuple[float, float]  # logarithms of the scales along x and y

    @classmethod
    def random(cls, rng: Generator) -> "Hand":
        """Somebody's hand; six in ten write with a pen of even width."""
        redrawn, width = rng.random() < 0.6, log_uniform(rng, 0.018, 0.11)
        angle, slant = math.radians(rng.uniform(-12, 12)), rng.uniform(-0.2, 0.2)
        across, down = rng.uniform(-0.12, 0.12, 2).tolist()
        return cls(width, redrawn, angle, slant, (across, down))

    def vary(self, rng: Generator) -> "Hand":
        """The same hand, a little different."""
        angle, slant, *stretch = rng.normal(0, (0.05, 0.05, 0.05, 0.05)).tolist()
        across, down = (own + change for own, change in zip(self.stretch, stretch, strict=True))
        return replace(self, angle=self.angle + angle, slant=self.slant + slant, stretch=(across, down))


def strokes(digit: Bytes, height: float, rng: Generator, hand: Hand | None = None) -> Floats:
    """The ink (h, w) in [0, 1] of a digit (28, 28), cropped, with a box about `height` pixels high or wide.

    Edges are as sharp as a pen's. Without a `hand`, it is a random one.
    """
    hand = hand or Hand.random(rng)
    scale = height / 20
    side = max(8, round(28 * scale))
    smooth = cv2.resize(digit, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32) / 255
    ink = np.clip((smooth - 0.5) * max(scale, 1) + 0.5, 0, 1).astype(np.float32)
    if hand.redrawn:
        ink = redraw(ink, max(1.2, height * hand.width))
    cosine, sine = math.cos(hand.angle), math.sin(hand.angle)
    matrix = np.array([[cosine, sine + hand.slant], [-sine, cosine]]) * np.exp(hand.stretch)[:, None]
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
    height = log_uniform(rng, least, most)
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
    page.pen = stroke_width(np.asarray(page.mask > 0.5, dtype=np.uint8) * 255)


def _paste(canvas: Floats, ink: Floats, left: int, top: int) -> Box:
    """Draw ink onto a canvas, moved as far as needed to lie in it; its box."""
    height, width = (min(have, room) for have, room in zip(ink.shape, canvas.shape, strict=True))
    top, left = min(max(top, 0), canvas.shape[0] - height), min(max(left, 0), canvas.shape[1] - width)
    part = canvas[top : top + height, left : left + width]
    np.maximum(part, ink[:height, :width], out=part)
    return left, top, left + width, top + height
