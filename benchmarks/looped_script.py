"""Digits in a script with loops, drawn by rule: a style that the network reads badly until it is trained on it.

Strokes start and end in curls, as in ornate scripts. Simulated people draw them for
the measurement of the feedback's way into the network; no other data have them.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image
from scipy.interpolate import CubicSpline

from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.web import feedback

SIDE = 280  # pixels, as the page's canvas
FRACTION_BITS = 4  # of the coordinates that OpenCV draws


class Stroke(NamedTuple):
    """A smooth curve through points in the unit square, y downwards, and which of its ends are curls."""

    points: Sequence[tuple[float, float]]
    start: bool = True
    end: bool = True


STROKES: Mapping[int, Sequence[Stroke]] = {
    0: [Stroke([(0.62, 0.08), (0.3, 0.15), (0.15, 0.5), (0.3, 0.88), (0.6, 0.9), (0.8, 0.5), (0.62, 0.08)])],
    1: [Stroke([(0.25, 0.35), (0.5, 0.08), (0.5, 0.5), (0.5, 0.92)])],
    2: [Stroke([(0.2, 0.3), (0.45, 0.08), (0.75, 0.28), (0.5, 0.6), (0.2, 0.9), (0.5, 0.86), (0.82, 0.9)])],
    3: [Stroke([(0.22, 0.15), (0.6, 0.1), (0.68, 0.32), (0.45, 0.47), (0.74, 0.65), (0.6, 0.92), (0.2, 0.85)])],
    4: [
        Stroke([(0.45, 0.08), (0.18, 0.6), (0.5, 0.62), (0.85, 0.58)]),
        Stroke([(0.66, 0.3), (0.62, 0.6), (0.6, 0.95)], start=False),
    ],
    5: [
        Stroke([(0.34, 0.12), (0.6, 0.1), (0.85, 0.12)], start=False),
        Stroke([(0.34, 0.12), (0.3, 0.42), (0.6, 0.42), (0.74, 0.68), (0.5, 0.92), (0.2, 0.82)], start=False),
    ],
    6: [Stroke([(0.68, 0.1), (0.35, 0.35), (0.22, 0.7), (0.48, 0.92), (0.72, 0.7), (0.5, 0.52), (0.26, 0.68)])],
    7: [Stroke([(0.18, 0.14), (0.5, 0.14), (0.8, 0.12), (0.58, 0.5), (0.42, 0.92)])],
    8: [
        Stroke(
            [(0.7, 0.2), (0.45, 0.08), (0.3, 0.28), (0.7, 0.68), (0.5, 0.92), (0.27, 0.7), (0.66, 0.34), (0.7, 0.2)],
            end=False,
        )
    ],
    9: [Stroke([(0.72, 0.3), (0.5, 0.1), (0.28, 0.3), (0.48, 0.5), (0.72, 0.3), (0.68, 0.6), (0.5, 0.93)])],
}
CURL_RADIUS = 0.15, 0.23  # of the curls at a stroke's ends, in the unit square
CURL_TURN = 1.5 * np.pi, 2.2 * np.pi


def draw(digit: int, rng: Generator) -> Bytes:
    """A drawing (SIDE, SIDE), dark on white, of a digit in looped script."""
    lean, squeeze = rng.normal(0, 0.08), rng.uniform(0.85, 1.1)
    canvas = np.full((SIDE, SIDE), 255, np.uint8)
    thickness, radius = int(rng.integers(9, 17)), rng.uniform(*CURL_RADIUS)
    for stroke in STROKES[digit]:
        points = np.array(stroke.points) + rng.normal(0, 0.02, (len(stroke.points), 2))
        line = _with_curls(_smooth(points), stroke, radius, rng)
        line = (line - 0.5) * [squeeze * 130, 165] + SIDE / 2
        line[:, 0] -= lean * (line[:, 1] - SIDE / 2)
        fixed = (line * (1 << FRACTION_BITS)).round().astype(np.int32)
        cv2.polylines(canvas, [fixed], False, 20, thickness, cv2.LINE_AA, FRACTION_BITS)
    return canvas


def encode(drawing: Bytes) -> bytes:
    """The PNG file that the page sends of a drawing."""
    file = io.BytesIO()
    Image.fromarray(drawing).save(file, "PNG")
    return file.getvalue()


def drawings(count: int, seed: int) -> Iterator[tuple[bytes, int]]:
    """PNG files of so many drawings and their digits, all digits equally often."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        yield encode(draw(index % 10, rng)), index % 10


def save_feedback(folder: Path, count: int, seed: int) -> None:
    """Store so many drawings as visitors of the page who correct its prediction, all digits equally often."""
    for picture, digit in drawings(count, seed):
        feedback.save(folder, picture, digit)


def _smooth(points: np.ndarray) -> np.ndarray:
    """A curve (N, 2) through points."""
    distance = np.concatenate([[0], np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()])
    return np.asarray(CubicSpline(distance, points)(np.linspace(0, distance[-1], 60)))


def _with_curls(line: np.ndarray, stroke: Stroke, radius: float, rng: Generator) -> np.ndarray:
    """The line of a stroke with a curl at the ends that have one."""
    parts = [line]
    if stroke.start:
        parts.insert(0, _curl(line[::-1], radius, rng)[::-1])
    if stroke.end:
        parts.append(_curl(line, radius, rng))
    return np.concatenate(parts)


def _curl(line: np.ndarray, radius: float, rng: Generator) -> np.ndarray:
    """The points of a spiral that continues a line, to its left or right."""
    turn, side = rng.uniform(*CURL_TURN), 1 if rng.random() < 0.7 else -1
    heading = np.arctan2(*(line[-1] - line[-4])[::-1])
    steps = np.linspace(0, 1, 40)[1:]
    angles, lengths = heading + side * turn * steps, radius * turn / 40 * (1 - 0.6 * steps)
    moves = np.stack([np.cos(angles), np.sin(angles)], axis=1) * lengths[:, None]
    return np.asarray(line[-1] + moves.cumsum(axis=0))
