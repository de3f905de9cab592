"""Fifteen corruptions of MNIST's images, for evaluation only; `datasets.corruptions` has those of training.

The names are those of Mu and Gilmer, "MNIST-C: A Robustness Benchmark for Computer Vision" (2019); the formulas and
strengths are this project's own. Each function takes an image (28, 28) uint8, white ink on black, and a random
generator, and returns an image of the same shape and type.
"""

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Generator = np.random.Generator
SIDE = 28


def shot_noise(image: Image, rng: Generator) -> Image:
    """Poisson noise of 4 to 12 photons at full brightness."""
    photons = rng.uniform(4, 12)
    return _to_uint8(rng.poisson((image / 255.0 + 0.03) * photons) / photons * 255)


def impulse_noise(image: Image, rng: Generator) -> Image:
    """Salt and pepper on 5 to 25 % of the pixels."""
    noisy = rng.random(image.shape) < rng.uniform(0.05, 0.25)
    return np.where(noisy, rng.choice([0, 255], image.shape), image).astype(np.uint8)


def glass_blur(image: Image, rng: Generator) -> Image:
    """Blur, take every pixel from a random place at most two pixels away, and blur again."""
    soft = cv2.GaussianBlur(image, (0, 0), 0.6)
    ys, xs = np.mgrid[:SIDE, :SIDE] + rng.integers(-2, 3, (2, SIDE, SIDE))
    return _to_uint8(cv2.GaussianBlur(soft[ys.clip(0, SIDE - 1), xs.clip(0, SIDE - 1)], (0, 0), 0.5))


def motion_blur(image: Image, rng: Generator) -> Image:
    """Motion blur of 5 to 9 pixels in any direction."""
    length, kernel = int(rng.integers(5, 10)), np.zeros((9, 9), np.float32)
    angle = rng.uniform(0, math.pi)
    for step in np.linspace(-length / 2, length / 2, 40):
        kernel[round(4 + step / 2.3 * math.sin(angle)), round(4 + step / 2.3 * math.cos(angle))] += 1
    return _to_uint8(cv2.filter2D(image.astype(np.float32), -1, kernel / kernel.sum()))


def brightness(image: Image, rng: Generator) -> Image:
    """The same brightness added to every pixel."""
    return _to_uint8(image + rng.uniform(80, 170))


def fog(image: Image, rng: Generator) -> Image:
    """Bright clouds over the image."""
    octaves = [
        cv2.resize(rng.random((cells, cells)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) / cells
        for cells in (2, 4, 8, 16)
    ]
    clouds = np.sum(octaves, axis=0)
    clouds = (clouds - clouds.min()) / np.ptp(clouds)
    amount = rng.uniform(0.8, 1.6)
    return _to_uint8(255 * (image / 255 + amount * clouds) / (1 + amount))


def stripe(image: Image, rng: Generator) -> Image:
    """The image inverted to the left and to the right of a band in the middle."""
    left, right = int(rng.integers(5, 10)), int(rng.integers(19, 24))
    striped = 255 - image
    striped[:, left:right] = image[:, left:right]
    return striped


def spatter(image: Image, rng: Generator) -> Image:
    """Bright drops."""
    drops = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), 1.0)
    return _to_uint8(image + 255 * np.clip((drops - 1.7 * drops.std()) * 12, 0, 1))


def dotted_line(image: Image, rng: Generator) -> Image:
    """A dotted line from the left edge to the right one."""
    (first, last), drawn = rng.integers(0, SIDE, 2).tolist(), np.zeros_like(image)
    for position in np.arange(0, 1, 4 / SIDE).tolist():
        start, end = ((round(t * 27), round(first + t * (last - first))) for t in (position, position + 0.06))
        cv2.line(drawn, start, end, 255, 1)
    return np.maximum(image, drawn)


def zigzag(image: Image, rng: Generator) -> Image:
    """A zigzag line from the left edge to the right one."""
    heights, swing = rng.uniform(2, 26, 2), rng.uniform(1.5, 3)
    turns = [(2 * i, heights[0] + (heights[1] - heights[0]) * i / 14 + (swing if i % 2 else -swing)) for i in range(15)]
    drawn = np.zeros_like(image)
    cv2.polylines(drawn, [(np.array(turns) * 16).round().astype(np.int32)], False, 255, 1, cv2.LINE_AA, 4)
    return np.maximum(image, drawn)


def canny_edges(image: Image, rng: Generator) -> Image:
    """Outlines only."""
    return np.asarray(cv2.Canny(image, 100, 200), dtype=np.uint8)


def shear(image: Image, rng: Generator) -> Image:
    """Shear by 0.2 to 0.6."""
    return _warp(image, [[1, _signed(rng, 0.2, 0.6)], [0, 1]])


def scale(image: Image, rng: Generator) -> Image:
    """Scale to 50 to 80 %."""
    factor = rng.uniform(0.5, 0.8)
    return _warp(image, [[factor, 0], [0, factor]])


def rotate(image: Image, rng: Generator) -> Image:
    """Rotate by 15 to 35 degrees."""
    angle = math.radians(_signed(rng, 15, 35))
    return _warp(image, [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def translate(image: Image, rng: Generator) -> Image:
    """Shift by 3 to 5 pixels along both axes; parts outside the image are lost."""
    return _warp(image, np.eye(2), shift=(_signed(rng, 3, 5), _signed(rng, 3, 5)))


CORRUPTIONS: Mapping[str, Callable[[Image, Generator], Image]] = {
    corruption.__name__: corruption
    for corruption in (
        *(shot_noise, impulse_noise, glass_blur, motion_blur, brightness, fog, stripe, spatter),
        *(dotted_line, zigzag, canny_edges, shear, scale, rotate, translate),
    )
}


def _warp(image: Image, matrix: object, shift: tuple[float, float] = (0, 0)) -> Image:
    """A linear map about the center of the image, then a shift in pixels."""
    linear, center = np.asarray(matrix, dtype=np.float64), np.full(2, (SIDE - 1) / 2)
    offset = center - linear @ center + shift
    return _to_uint8(cv2.warpAffine(image, np.column_stack([linear, offset]), (SIDE, SIDE)))


def _signed(rng: Generator, low: float, high: float) -> float:
    """A uniform number in [low, high) with a random sign."""
    return float(rng.uniform(low, high) * rng.choice([-1, 1]))


def _to_uint8(values: object) -> Image:
    return np.asarray(values, dtype=np.float64).round().clip(0, 255).astype(np.uint8)
