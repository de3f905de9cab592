"""Fifteen kinds of damage to a digit in MNIST's form, by formula: to develop and to measure on, never to train on.

They follow the names of Mu and Gilmer, "MNIST-C: A Robustness Benchmark for Computer Vision" (2019); the formulas
and strengths are this project's own. Each takes (28, 28) uint8, white ink on black, and a random generator.
"""

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Generator = np.random.Generator
SIDE = 28


def shot_noise(picture: Picture, dice: Generator) -> Picture:
    """Light that arrives in grains: Poisson noise of few photons."""
    photons = dice.uniform(4, 12)
    return _whole(dice.poisson((picture / 255.0 + 0.03) * photons) / photons * 255)


def impulse_noise(picture: Picture, dice: Generator) -> Picture:
    """Salt and pepper on 5 to 25 % of the pixels."""
    hit = dice.random(picture.shape) < dice.uniform(0.05, 0.25)
    return np.where(hit, dice.choice([0, 255], picture.shape), picture).astype(np.uint8)


def glass_blur(picture: Picture, dice: Generator) -> Picture:
    """Softened, every pixel swapped with one nearby, softened again."""
    soft = cv2.GaussianBlur(picture, (0, 0), 0.6)
    ys, xs = np.mgrid[:SIDE, :SIDE] + dice.integers(-2, 3, (2, SIDE, SIDE))
    return _whole(cv2.GaussianBlur(soft[ys.clip(0, SIDE - 1), xs.clip(0, SIDE - 1)], (0, 0), 0.5))


def motion_blur(picture: Picture, dice: Generator) -> Picture:
    """A trace of 5 to 9 pixels."""
    length, kernel = int(dice.integers(5, 10)), np.zeros((9, 9), np.float32)
    angle = dice.uniform(0, math.pi)
    for step in np.linspace(-length / 2, length / 2, 40):
        kernel[round(4 + step / 2.3 * math.sin(angle)), round(4 + step / 2.3 * math.cos(angle))] += 1
    return _whole(cv2.filter2D(picture.astype(np.float32), -1, kernel / kernel.sum()))


def brightness(picture: Picture, dice: Generator) -> Picture:
    """Light added everywhere."""
    return _whole(picture + dice.uniform(80, 170))


def fog(picture: Picture, dice: Generator) -> Picture:
    """Clouds of light in front of the picture."""
    clouds = sum(
        cv2.resize(dice.random((cells, cells)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) / cells
        for cells in (2, 4, 8, 16)
    )
    clouds = (clouds - clouds.min()) / np.ptp(clouds)
    amount = dice.uniform(0.8, 1.6)
    return _whole(255 * (picture / 255 + amount * clouds) / (1 + amount))


def stripe(picture: Picture, dice: Generator) -> Picture:
    """The negative of the picture left and right of the middle."""
    left, right = int(dice.integers(5, 10)), int(dice.integers(19, 24))
    striped = 255 - picture
    striped[:, left:right] = picture[:, left:right]
    return striped


def spatter(picture: Picture, dice: Generator) -> Picture:
    """Drops on the picture."""
    drops = cv2.GaussianBlur(dice.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), 1.0)
    return _whole(picture + 255 * np.clip((drops - 1.7 * drops.std()) * 12, 0, 1))


def dotted_line(picture: Picture, dice: Generator) -> Picture:
    """Dots from the left side to the right."""
    heights, drawn = dice.integers(0, SIDE, 2), np.zeros_like(picture)
    for place in np.arange(0, 1, 4 / SIDE):
        ends = [
            (round(t * 27), round(heights[0] + t * (int(heights[1]) - int(heights[0])))) for t in (place, place + 0.06)
        ]
        cv2.line(drawn, *ends, 255, 1)
    return np.maximum(picture, drawn)


def zigzag(picture: Picture, dice: Generator) -> Picture:
    """A zigzag line from the left side to the right."""
    heights, swing = dice.uniform(2, 26, 2), dice.uniform(1.5, 3)
    turns = [(2 * i, heights[0] + (heights[1] - heights[0]) * i / 14 + (swing if i % 2 else -swing)) for i in range(15)]
    drawn = np.zeros_like(picture)
    cv2.polylines(drawn, [(np.array(turns) * 16).round().astype(np.int32)], False, 255, 1, cv2.LINE_AA, 4)
    return np.maximum(picture, drawn)


def canny_edges(picture: Picture, dice: Generator) -> Picture:
    """Outlines only."""
    return np.asarray(cv2.Canny(picture, 100, 200), dtype=np.uint8)


def shear(picture: Picture, dice: Generator) -> Picture:
    """Slanted by up to 0.6."""
    return _warp(picture, [[1, _signed(dice, 0.2, 0.6)], [0, 1]])


def scale(picture: Picture, dice: Generator) -> Picture:
    """At 50 to 80 % of its size."""
    size = dice.uniform(0.5, 0.8)
    return _warp(picture, [[size, 0], [0, size]])


def rotate(picture: Picture, dice: Generator) -> Picture:
    """Turned by 15 to 35 degrees."""
    angle = math.radians(_signed(dice, 15, 35))
    return _warp(picture, [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def translate(picture: Picture, dice: Generator) -> Picture:
    """Shifted by 3 to 5 pixels each way; what leaves the picture is lost."""
    return _warp(picture, np.eye(2), shift=(_signed(dice, 3, 5), _signed(dice, 3, 5)))


KINDS: Mapping[str, Callable[[Picture, Generator], Picture]] = {
    kind.__name__: kind
    for kind in (
        *(shot_noise, impulse_noise, glass_blur, motion_blur, brightness, fog, stripe, spatter),
        *(dotted_line, zigzag, canny_edges, shear, scale, rotate, translate),
    )
}


def _warp(picture: Picture, matrix: object, shift: tuple[float, float] = (0, 0)) -> Picture:
    """A linear map about the middle of the picture, then a shift in pixels."""
    linear, middle = np.asarray(matrix, dtype=np.float64), np.full(2, (SIDE - 1) / 2)
    offset = middle - linear @ middle + shift
    return _whole(cv2.warpAffine(picture, np.column_stack([linear, offset]), (SIDE, SIDE)))


def _signed(dice: Generator, low: float, high: float) -> float:
    return float(dice.uniform(low, high) * dice.choice([-1, 1]))


def _whole(values: object) -> Picture:
    return np.asarray(values, dtype=np.float64).round().clip(0, 255).astype(np.uint8)
