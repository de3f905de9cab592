"""Photographs of digits on paper, simulated from MNIST's images, with the mask of the digits' ink.

Drawn at twice the final resolution in this order: paper, print (squares, rules, text), the digits' ink, marks around
them (a box, a circle, a line below), what lies around the paper, then light, the camera's blur, noise and compression.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator

from mnist_lightning.datasets.camera import SUPERSAMPLING, Photograph, develop
from mnist_lightning.datasets.page import Page, place_digits
from mnist_lightning.datasets.page_steps import EXTRAS, KINDS, edge
from mnist_lightning.datasets.parallel import generate
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.segment import pad_to_square

NUMBERS, MAX_DIGITS = 0.25, 5  # fraction of the photographs with several digits, and at most so many
CHUNK = 50  # photographs that a process draws at once


def photographs(digits: Bytes, count: int, seed: int, side: int) -> tuple[Bytes, Bytes]:
    """Simulate many photographs, on all processor cores; the same arguments give the same ones.

    Args:
        digits: MNIST's images, (N, 28, 28), to draw from.
        count: how many photographs.
        seed: determines them.
        side: sides in pixels; the photographs are padded to squares.

    Returns:
        The photographs (count, side, side, 3), and masks of the digits' ink (count, side, side), 0 to 255.

    Raises GenerationError if a process is killed.
    """
    images, masks = np.empty((count, side, side, 3), np.uint8), np.empty((count, side, side), np.uint8)
    tasks = [(seed, range(first, min(first + CHUNK, count)), side) for first in range(0, count, CHUNK)]
    for (_, places, _), (part, part_masks) in zip(tasks, generate(_draw_chunk, digits, tasks), strict=True):
        images[places.start : places.stop], masks[places.start : places.stop] = part, part_masks
    return images, masks


def _draw_chunk(digits: Bytes, task: tuple[int, range, int]) -> tuple[Bytes, Bytes]:
    seed, places, side = task
    images, masks = [], []
    for place in places:
        rng = np.random.default_rng([seed, place])
        count = int(rng.integers(2, MAX_DIGITS + 1)) if rng.random() < NUMBERS else 1
        made = photograph(list(digits[rng.integers(0, len(digits), count)]), rng, side)
        images.append(pad_to_square(made.image, side, cv2.BORDER_REPLICATE))
        masks.append(pad_to_square(made.mask, side, cv2.BORDER_CONSTANT))
    return np.stack(images), np.stack(masks)


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
    for step in (*(step for step in extras if step is not edge), *below):
        step(page)
    page.put(page.mask, page.ink)
    for step in (*above, *(step for step in extras if step is edge)):
        step(page)
    return develop(page)
