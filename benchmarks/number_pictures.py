"""Pictures of numbers of MNIST's digits: side by side, written by one hand, on simulated paper, on sheets."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from mnist_lightning.datasets import numbers, paper
from mnist_lightning.datasets.camera import SUPERSAMPLING, develop
from mnist_lightning.datasets.page import Hand, Page, strokes
from mnist_lightning.datasets.samples import Sample
from mnist_lightning.evaluation.presentations import PAPER, Ink, encode, paint
from mnist_lightning.preprocessing.decode import Bytes

FEWEST, MOST = 2, 6  # digits of a number
SCALE = 4  # pixels of a picture for each of MNIST's
APART, TOUCHING = (2, 8), (-3, 0)  # MNIST's pixels between the boxes of two digits
JITTER, MARGIN = 2, 8  # MNIST's pixels
BOX_INK = 64  # of 255, of the ink that a digit's box surrounds
PHOTOGRAPH_SIDE, SHEET_SIDE = 512, 1024  # pixels
LINES, COLUMNS = 5, 5  # digits of a sheet
LINE_WIDTH, LINE_COLOR = 6, (150, 170, 210)  # pixels, of squares
LARGE = 1_000_000  # pixels of a picture that is a JPEG file
SHEET_TURN, SHEET_PERSPECTIVE = 3.0, 0.03  # degrees; how far corners move, in sides


@dataclass(frozen=True)
class Digits:
    """What the pictures show."""

    images: Bytes  # (N, 28, 28)
    labels: NDArray[np.int64]  # (N,)

    @classmethod
    def of(cls, images: torch.Tensor, labels: torch.Tensor) -> "Digits":
        """From images (N, 1, 28, 28) uint8 and labels (N,)."""
        return cls(images[:, 0].numpy(), labels.numpy())

    def choose(self, count: int, rng: Generator) -> tuple[list[Bytes], str]:
        """Random digits, and the number that they form."""
        places = rng.integers(len(self.labels), size=count)
        return list(self.images[places]), "".join(map(str, self.labels[places]))


Draw = Callable[[Digits, Generator], tuple[str, bytes]]  # -> the number, the content of an image file


def samples(group: str, draw: Draw, digits: Digits, count: int) -> Iterator[Sample[str]]:
    """Pictures of one group; the same arguments give the same ones."""
    for place in range(count):
        label, content = draw(digits, np.random.default_rng([place, *group.encode()]))
        yield Sample(f"{group}-{place}", group, label, content)


def side_by_side(low: int, high: int) -> Draw:
    """Digits as they are, with `low` to `high` of MNIST's pixels between their boxes, dark on light."""

    def draw(digits: Digits, rng: Generator) -> tuple[str, bytes]:
        images, label = digits.choose(int(rng.integers(FEWEST, MOST + 1)), rng)
        return label, encode(paint(join(images, rng, low, high)))

    return draw


def join(images: Sequence[Bytes], rng: Generator, low: int = APART[0], high: int = APART[1]) -> Ink:
    """The ink (h, w) of digits (28, 28) in a row at SCALE, with a margin of paper."""
    canvas = np.zeros((28 + 2 * (MARGIN + JITTER), 36 * len(images) + 2 * MARGIN), np.uint8)
    right = MARGIN
    for place, image in enumerate(images):
        left, top, width, height = cv2.boundingRect((image > BOX_INK).astype(np.uint8))
        x = right + (int(rng.integers(low, high + 1)) if place else 0)
        y = (len(canvas) - height) // 2 + int(rng.integers(-JITTER, JITTER + 1))
        part = canvas[y : y + height, x : x + width]
        np.maximum(part, image[top : top + height, left : left + width], out=part)
        right = x + width
    canvas = canvas[:, : right + MARGIN]
    size = canvas.shape[1] * SCALE, canvas.shape[0] * SCALE
    return np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_CUBIC).astype(np.float32) / 255)


def by_one_hand(glyphs: numbers.Glyphs) -> Draw:
    """A line as the line reader is trained on, from other digits: slanted, apart or touching, with a pen."""

    def draw(_: Digits, rng: Generator) -> tuple[str, bytes]:
        while True:
            made = numbers.compose(glyphs, rng, int(rng.integers(FEWEST, MOST + 1)))
            if numbers.NOT_A_DIGIT not in made.classes:
                ink = np.pad(made.ink, max(made.ink.shape) // 8).astype(np.float32) / np.float32(255)
                return "".join(map(str, made.classes)), encode(paint(ink))

    return draw


def photographed(kind: str) -> Draw:
    """A simulated photograph of a number on a kind of paper."""

    def draw(digits: Digits, rng: Generator) -> tuple[str, bytes]:
        images, label = digits.choose(int(rng.integers(FEWEST, MOST + 1)), rng)
        return label, encode(paper.photograph(images, rng, PHOTOGRAPH_SIDE, kind).image)

    return draw


def sheet(lines: int = LINES, columns: int = COLUMNS) -> Draw:
    """A photograph of a sheet with lines of digits by one hand, turned a little and in perspective."""

    def draw(digits: Digits, rng: Generator) -> tuple[str, bytes]:
        page = Page(rng, round(0.75 * SHEET_SIDE) * SUPERSAMPLING, SHEET_SIDE * SUPERSAMPLING)
        rows = [digits.choose(columns, rng) for _ in range(lines)]
        page.mask = _in_perspective(_write(page, [images for images, _ in rows]), rng)
        page.put(page.mask, page.ink)
        return "\n".join(label for _, label in rows), encode(develop(page).image)

    return draw


def _write(page: Page, rows: Sequence[Sequence[Bytes]]) -> Ink:
    """Ink (H, W) of lines below one another, within the middle of a page."""
    rng, hand = page.rng, Hand.random(page.rng)
    pitch = 0.8 * page.height / len(rows)
    height = min(pitch / rng.uniform(1.5, 2.2), 0.8 * page.width / (1.4 * len(rows[0])))
    mask = np.zeros((page.height, page.width), np.float32)
    for line, images in enumerate(rows):
        x, middle = 0.1 * page.width + height * rng.uniform(0, 0.5), 0.1 * page.height + pitch * (line + 0.5)
        for image in images:
            ink = strokes(image, height * np.exp(rng.normal(0, 0.06)), rng, hand.vary(rng))
            left, top = round(x), round(middle - ink.shape[0] / 2 + height * rng.normal(0, 0.05))
            part = mask[top : top + ink.shape[0], left : left + ink.shape[1]]
            np.maximum(part, ink[: part.shape[0], : part.shape[1]], out=part)
            x += ink.shape[1] + height * rng.uniform(0.08, 0.5)
    return mask


def _in_perspective(mask: Ink, rng: Generator) -> Ink:
    height, width = mask.shape
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-SHEET_TURN, SHEET_TURN), 1)
    moved = corners @ turn[:, :2].T + turn[:, 2] + rng.uniform(-1, 1, (4, 2)) * SHEET_PERSPECTIVE * width
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    return np.asarray(cv2.warpPerspective(mask, matrix, (width, height)), dtype=np.float32)


def drawn(count: int, width: int, height: int, squares: int = 0) -> Draw:
    """A number of `count` digits in the middle of a picture, a JPEG file if it is large, on paper with squares."""

    def draw(digits: Digits, rng: Generator) -> tuple[str, bytes]:
        images, label = digits.choose(count, rng)
        ink = join(images, rng)
        factor = min(0.85 * width / ink.shape[1], 0.6 * height / ink.shape[0])
        size = round(ink.shape[1] * factor), round(ink.shape[0] * factor)
        ink = np.asarray(cv2.resize(ink, size, interpolation=cv2.INTER_CUBIC).clip(0, 1), dtype=np.float32)
        top, left = (height - size[1]) // 2, (width - size[0]) // 2
        sheet = np.zeros((height, width), np.float32)
        sheet[top : top + size[1], left : left + size[0]] = ink
        background = np.full((height, width, 3), PAPER, np.uint8)
        for place in range(-LINE_WIDTH // 2, LINE_WIDTH // 2) if squares else ():
            background[squares + place :: squares] = background[:, squares + place :: squares] = LINE_COLOR
        picture = paint(sheet, background)
        return label, encode(picture, "JPEG", quality=85) if width * height > LARGE else encode(picture)

    return draw
