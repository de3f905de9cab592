"""Lines of digits composed of MNIST's images, as ink: apart, touching or overlapping, slanted, with marks between them.

The digits of a line share a writer: pen, slant and turn, with small differences.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from mnist_lightning.datasets import outliers
from mnist_lightning.datasets.page import Hand, strokes
from mnist_lightning.datasets.raster import Images
from mnist_lightning.datasets.variants import add_long_up_strokes, add_regional_variants
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.strokes import Floats

WRITING, WRITING_PER_KIND = ("letter", "sign", "other script"), 300
MIRRORED_ZEROS = 0.3  # fraction of the zeros, among them slashed ones: some people slash them the other way
DRAWINGS = ("scribble", "zigzag", "face", "drawing", "texture", "noise", "blot", "thing")
DRAWN_PER_KIND = 200
BATCH = 512  # images whose variants are drawn at once
NOT_A_DIGIT = 10  # the class of letters and signs
MAX_DIGITS = 8
SINGLE_DIGITS, PUNCTUATION, SPACES, OTHER_WRITING = 0.12, 0.06, 0.03, 0.025  # fractions of lines, gaps and digits


@dataclass(frozen=True)
class Glyphs:
    """What lines are composed of."""

    digits: Bytes  # (N, 28, 28), as MNIST's
    labels: NDArray[np.int64]  # (N,)
    writing: Bytes  # (M, 28, 28), letters and signs
    drawings: list[Bytes]  # (side, side) each: what people draw that is neither

    @classmethod
    def build(cls, images: torch.Tensor, labels: torch.Tensor, seed: int) -> "Glyphs":
        """The digits of MNIST's images (N, 1, 28, 28) uint8, a part of them in regional variants, and other writing."""
        rng = np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            parts = zip(torch.split(images, BATCH), torch.split(labels, BATCH), strict=True)
            varied = torch.cat([_vary(part.float() / 255, own) for part, own in parts])
        backslashed = (labels == 0) & torch.from_numpy(rng.random(len(labels)) < MIRRORED_ZEROS)
        varied[backslashed] = varied[backslashed].flip(3)
        canvases = [outliers.OUTLIER_KINDS[kind](rng) for kind in WRITING for _ in range(WRITING_PER_KIND)]
        writing = [cv2.resize(canvas, images.shape[2:], interpolation=cv2.INTER_AREA) for canvas in canvases]
        drawings = [outliers.OUTLIER_KINDS[kind](rng) for kind in DRAWINGS for _ in range(DRAWN_PER_KIND)]
        return cls((varied[:, 0] * 255).round().byte().numpy(), labels.numpy(), np.stack(writing), drawings)


def _vary(images: Images, labels: torch.Tensor) -> Images:
    return add_long_up_strokes(add_regional_variants(images, labels), labels)


@dataclass(frozen=True)
class Composed:
    """The ink of a line, and what it says."""

    ink: Bytes  # (h, w), 0 to 255
    classes: list[int]
    centers: list[tuple[float, float]]  # of each, x, y in pixels


def compose(glyphs: Glyphs, rng: Generator, count: int | None = None) -> Composed:
    """Compose a line of `count` digits, by default of one to MAX_DIGITS at random."""
    if count is None:
        count = 1 if rng.random() < SINGLE_DIGITS else int(rng.integers(2, MAX_DIGITS + 1))
    height, hand, spacing = rng.uniform(18, 44), Hand.random(rng), _spacing(rng)
    uneven = float(rng.choice([0.04, 0.12]))
    slope = math.tan(math.radians(rng.uniform(-10, 10))) if rng.random() < 0.6 else 0.0
    chosen = [_glyph(glyphs, rng) for _ in range(count)]
    inks = [strokes(image, height * math.exp(rng.normal(0, uneven)), rng, hand.vary(rng)) for image, _ in chosen]
    rows, columns = height * (3 + 2.5 * abs(slope) * count), height * (3 + 3 * count)
    canvas = np.zeros((math.ceil(rows), math.ceil(columns)), np.float32)
    middle, right, centers = rows / 2 - slope * height * 0.5 * count, height, []
    for place, ink in enumerate(inks):
        left = right
        if place:
            gap = height * (rng.normal(*spacing) if rng.random() > SPACES else rng.uniform(0.5, 1.5))
            # By the ink, a slanted digit may stand below its neighbor's overhang.
            left = _beside(canvas, ink, middle, right, gap) if rng.random() < 0.5 else right + gap
        top = middle - ink.shape[0] / 2 + slope * (left - height) + height * rng.normal(0, uneven)
        x, y = _paste(canvas, ink, left, top)
        centers.append((x + ink.shape[1] / 2, y + ink.shape[0] / 2))
        right = max(right if place else 0, x + ink.shape[1])
        if place + 1 < count and rng.random() < PUNCTUATION:
            right = _punctuate(canvas, right, middle + slope * (right - height), height, hand, rng)
    pixels, centers = _finish(canvas, centers, height, rng)
    return Composed(pixels, [label for _, label in chosen], centers)


def _spacing(rng: Generator) -> tuple[float, float]:
    """Mean and deviation of a line's gaps, in heights of digits."""
    kind = rng.random()
    if kind < 0.3:
        return rng.uniform(0.2, 0.7), 0.08
    if kind < 0.6:
        return rng.uniform(0, 0.2), 0.06
    return rng.uniform(-0.24, 0.02), 0.05


def _glyph(glyphs: Glyphs, rng: Generator) -> tuple[Bytes, int]:
    if rng.random() < OTHER_WRITING:
        return glyphs.writing[rng.integers(len(glyphs.writing))], NOT_A_DIGIT
    place = rng.integers(len(glyphs.digits))
    return glyphs.digits[place], int(glyphs.labels[place])


def _beside(canvas: Floats, ink: Floats, middle: float, right: float, gap: float) -> float:
    """The left side of ink that stands `gap` pixels beside what is on the canvas, row by row."""
    top = round(middle - ink.shape[0] / 2)
    rows, own = canvas[top : top + ink.shape[0]] > 0.4, ink > 0.4
    both = np.flatnonzero(rows.any(axis=1) & np.asarray(own.any(axis=1))[: len(rows)])
    if not len(both):
        return right + gap
    last = rows.shape[1] - np.fliplr(rows)[both].argmax(axis=1)
    first = own[both].argmax(axis=1)
    return max(float((last - first).max()) + gap, right - 0.6 * float(ink.shape[1]))


def _paste(canvas: Floats, ink: Floats, left: float, top: float) -> tuple[int, int]:
    height, width = ink.shape
    x = min(max(round(left), 0), canvas.shape[1] - width)
    y = min(max(round(top), 0), canvas.shape[0] - height)
    part = canvas[y : y + height, x : x + width]
    np.maximum(part, ink, out=part)
    return x, y


def _punctuate(canvas: Floats, right: float, middle: float, height: float, hand: Hand, rng: Generator) -> float:
    """Draw a dot, a comma, a colon or a dash after what ends at `right`; where it ends."""
    width = max(1, round(height * hand.width * rng.uniform(1, 1.4)))
    x, foot = right + height * rng.uniform(0.1, 0.3), middle + height * rng.uniform(0.35, 0.55)
    kind, reach = rng.integers(4), height * rng.uniform(0.05, 0.25)
    segments = (
        [((x, foot), (x, foot))],
        [((x, foot - reach / 2), (x - reach / 2, foot + reach / 2))],
        [((x, foot), (x, foot)), ((x, foot - 0.5 * height), (x, foot - 0.5 * height))],
        [((x, middle), (x + height * rng.uniform(0.2, 0.5), middle + height * rng.uniform(-0.06, 0.06)))],
    )[kind]
    sheet = np.zeros(canvas.shape, np.uint8)
    for first, last in segments:
        ends = [tuple(round(value * 16) for value in point) for point in (first, last)]
        cv2.line(sheet, ends[0], ends[1], 255, width, cv2.LINE_AA, 4)
    np.maximum(canvas, sheet.astype(np.float32) / 255, out=canvas)
    return max(end[0] for segment in segments for end in segment) + width / 2


def _finish(
    canvas: Floats, centers: list[tuple[float, float]], height: float, rng: Generator
) -> tuple[Bytes, list[tuple[float, float]]]:
    """What happens to ink on its way: blur, gaps, specks, a lower resolution; cropped to its surroundings."""
    left, top, width, tall = cv2.boundingRect((canvas > 0.25).astype(np.uint8))
    margin = math.ceil(height * rng.uniform(0.2, 0.5))
    rows, columns = (
        slice(max(0, top - margin), top + tall + margin),
        slice(max(0, left - margin), left + width + margin),
    )
    ink = canvas[rows, columns]
    centers = [(x - columns.start, y - rows.start) for x, y in centers]
    if rng.random() < 0.3:
        ink = np.asarray(cv2.GaussianBlur(ink, (0, 0), height * rng.uniform(0.015, 0.05)), dtype=np.float32)
        ink = np.clip(ink / max(ink.max(), 0.1), 0, 1)
    if rng.random() < 0.15:
        ink = _specks(ink, rng)
    if rng.random() < 0.08:
        ink = _rule(ink, height, rng)
    if rng.random() < 0.25:  # a small picture, or one that the segmenter has reduced
        factor = min(1.0, max(13 / height, rng.uniform(0.3, 0.9)))
        size = max(1, round(ink.shape[1] * factor)), max(1, round(ink.shape[0] * factor))
        ink = np.asarray(cv2.resize(ink, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
        centers = [(x * factor, y * factor) for x, y in centers]
    return np.asarray((ink * 255).round().clip(0, 255), dtype=np.uint8), centers


def _specks(ink: Floats, rng: Generator) -> Floats:
    ink = ink.copy()
    for _ in range(int(rng.integers(1, 6))):
        y, x = rng.integers(ink.shape[0]), rng.integers(ink.shape[1])
        side = int(rng.integers(1, 3))
        ink[y : y + side, x : x + side] = rng.uniform(0.4, 1)
    return ink


def _rule(ink: Floats, height: float, rng: Generator) -> Floats:
    """What is left of a ruled line across, or beside the digits."""
    ink, y = ink.copy(), int(rng.integers(ink.shape[0]))
    thick, start, end = int(rng.integers(1, 3)), *sorted(rng.integers(0, ink.shape[1] + 1, 2))
    part = ink[y : y + thick, start:end]
    np.maximum(part, (rng.random(part.shape) < rng.uniform(0.3, 1)) * rng.uniform(0.3, 0.9), out=part)
    return ink
