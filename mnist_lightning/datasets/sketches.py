"""Random scribbles, faces, drawings, blots, textures and noise: canvases of uint8 with 255 in the ink."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mnist_lightning.preprocessing.decode import Bytes

CANVAS_SIDE = 96  # pixels
DrawFunction = Callable[[Generator], Bytes]  # draws a canvas, (CANVAS_SIDE, CANVAS_SIDE)


def draw_strokes(strokes: Sequence[NDArray[np.float64]], rng: Generator) -> Bytes:
    """A canvas with strokes, each (n, 2) in [0, 1] as x, y, all of one random width."""
    canvas, width = np.zeros((CANVAS_SIDE, CANVAS_SIDE), np.uint8), int(rng.integers(2, 8))
    for stroke in strokes:
        points = (stroke * (CANVAS_SIDE - 16) + 8) * 16
        cv2.polylines(canvas, [points.round().astype(np.int32)], False, 255, width, cv2.LINE_AA, 4)
    return canvas


def catmull_rom(points: NDArray[np.float64], steps: int = 12) -> NDArray[np.float64]:
    """A smooth curve through points (n, 2): the Catmull-Rom spline, with `steps` points between two of them."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, 1, steps)[:, None]
    basis = np.concatenate([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1) / 2
    return np.concatenate([basis @ padded[i : i + 4] for i in range(len(points) - 1)])


def scribble(rng: Generator) -> Bytes:
    """One to three smooth strokes with many bends."""
    bends = rng.integers(5, 14, int(rng.integers(1, 4)))
    return draw_strokes([catmull_rom(rng.random((n, 2))) for n in bends], rng)


def zigzag(rng: Generator) -> Bytes:
    """A zigzag with sharp or round corners, horizontal or vertical."""
    count = int(rng.integers(5, 14))
    along = np.linspace(0, 1, count) + rng.normal(0, 0.03, count)
    across = 0.5 + (np.arange(count) % 2 - 0.5) * rng.uniform(0.4, 1) + rng.normal(0, 0.06, count)
    points = np.stack([along, across] if rng.random() < 0.5 else [across, along], axis=1)
    return draw_strokes([points if rng.random() < 0.5 else catmull_rom(points)], rng)


def lines(rng: Generator) -> Bytes:
    """Three to seven straight strokes anywhere."""
    return draw_strokes(list(rng.random((int(rng.integers(3, 8)), 2, 2))), rng)


def face(rng: Generator) -> Bytes:
    """A head with eyes and a mouth, and a nose in some."""
    width, height, smile, eye_distance = rng.uniform((0.35, 0.35, -0.2, 0.12), (0.48, 0.48, 0.25, 0.2))
    mouth = np.array([[0.5 - 0.2, 0.68], [0.5, 0.68 + smile / 2], [0.5 + 0.2, 0.68]])
    size = rng.uniform(0.01, 0.06)
    eyes = [_ellipse(0.5 + side * eye_distance, 0.38, size, size) for side in (-1, 1)]
    nose = [np.array([[0.5, 0.45], [0.47, 0.56]])] if rng.random() < 0.4 else []
    return draw_strokes([_ellipse(0.5, 0.5, width, height), catmull_rom(mouth), *eyes, *nose], rng)


def _ellipse(x: float, y: float, width: float, height: float) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, 40)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)


# Corners of simple drawings, one stroke after the other, as x, y in tenths of the canvas.
DRAWINGS = {
    "house": "1,9 1,4 5,1 9,4 9,9 1,9;4,9 4,6 6,6 6,9",
    "man": "5,3 5,6 3,9;5,6 7,9;2,4 8,4;5,3 4,2 5,1 6,2 5,3",
    "star": "5,0 8,9 0,3 10,3 2,9 5,0",
    "arrow": "0,5 10,5;7,2 10,5 7,8",
    "tree": "5,10 5,6;5,0 2,3 8,3 5,0;5,2 1,6 9,6 5,2",
    "heart": "5,9 1,5 1,2 3,1 5,3 7,1 9,2 9,5 5,9",
    "boat": "1,7 9,7 7,9 3,9 1,7;5,7 5,1 8,5 5,5",
    "fish": "1,5 4,2 7,4 10,2 10,8 7,6 4,8 1,5",
    "car": "0,8 0,5 3,5 4,3 7,3 8,5 10,5 10,8 0,8;2,8 2,9 3,9 3,8;7,8 7,9 8,9 8,8",
    "box": "1,3 7,3 7,9 1,9 1,3 3,1 9,1 9,7 7,9;7,3 9,1",
    "cross": "5,0 5,10;1,4 9,4",
    "window": "0,0 10,0 10,10 0,10 0,0;5,0 5,10;0,5 10,5",
    "bolt": "6,0 2,6 6,5 3,10",
    "crown": "1,8 0,2 3,5 5,1 7,5 10,2 9,8 1,8",
    "triangle": "5,0 10,9 0,9 5,0",
    "cup": "1,2 2,9 7,9 8,2 1,2;8,3 10,4 9,6 7,6",
    "flag": "2,10 2,0 9,2 2,5",
    "stairs": "0,10 0,7 3,7 3,4 6,4 6,1 9,1",
}


def drawing(rng: Generator) -> Bytes:
    """One of DRAWINGS, each stroke shaken a little, mirrored in half of the cases."""
    chosen = str(rng.choice(list(DRAWINGS)))
    strokes = [
        np.array([[float(n) / 10 for n in point.split(",")] for point in stroke.split()])
        for stroke in DRAWINGS[chosen].split(";")
    ]
    shaken = [stroke + rng.normal(0, 0.03, stroke.shape) for stroke in strokes]
    mirrored = rng.random() < 0.5
    return draw_strokes([np.abs([int(mirrored), 0] - stroke) for stroke in shaken], rng)


def texture(rng: Generator) -> Bytes:
    """Stripes, checks or clouds."""
    y, x = np.mgrid[0:CANVAS_SIDE, 0:CANVAS_SIDE] / CANVAS_SIDE
    angle, waves = rng.uniform(0, np.pi), rng.uniform(3, 14)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kinds = [np.sin(2 * np.pi * waves * u), np.sin(2 * np.pi * waves * u) * np.sin(2 * np.pi * waves * v)]
    kinds.append(_resize(rng.normal(0, 1, (int(rng.integers(4, 16)),) * 2), cv2.INTER_CUBIC))
    field = kinds[rng.integers(3)]
    threshold = rng.uniform(0, 0.6)
    return np.asarray(np.clip((field - threshold) * rng.uniform(2, 20), 0, 1) * 255, dtype=np.uint8)


def noise(rng: Generator) -> Bytes:
    """Grains of one random size."""
    cells = int(rng.choice([14, 28, 48, 96]))
    grains = (rng.random((cells, cells)) < rng.uniform(0.02, 0.5)) * rng.uniform(80, 255, (cells, cells))
    return np.asarray(_resize(grains, cv2.INTER_NEAREST), dtype=np.uint8)


def blot(rng: Generator) -> Bytes:
    """A filled polygon."""
    canvas, count = np.zeros((CANVAS_SIDE, CANVAS_SIDE), np.uint8), int(rng.integers(3, 9))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    radii = rng.uniform(10, 44, count)
    points = CANVAS_SIDE / 2 + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
    cv2.fillPoly(canvas, [points.round().astype(np.int32)], 255, cv2.LINE_AA)
    return canvas


def shaded_object(rng: Generator) -> Bytes:
    """A filled, symmetric, unevenly shaded outline, as preprocessing leaves of a photographed object."""
    heights = np.linspace(0, 1, 9)
    halves = np.clip(rng.uniform(0.15, 0.4) + np.cumsum(rng.normal(0, 0.1, 9)), 0.06, 0.48)
    if rng.random() < 0.3:  # arms
        halves[: rng.integers(2, 6)] = 0.48
    outline = np.concatenate([np.stack([0.5 + halves, heights], 1), np.stack([0.5 - halves, heights], 1)[::-1]])
    canvas = np.zeros((CANVAS_SIDE, CANVAS_SIDE), np.uint8)
    points = (catmull_rom(outline) * (CANVAS_SIDE - 16) + 8).round().astype(np.int32)
    cv2.fillPoly(canvas, [points], 255, cv2.LINE_AA)
    if rng.random() < 0.3:  # a gap between legs
        left, right = (int(CANVAS_SIDE * rng.uniform(low, high)) for low, high in ((0.44, 0.49), (0.51, 0.56)))
        canvas[CANVAS_SIDE // 3 :, left:right] = 0
    cells = int(rng.integers(2, 12))
    shade = _resize(rng.uniform(rng.uniform(0.1, 0.9), 1, (cells, cells)), cv2.INTER_LINEAR)
    return np.asarray(canvas * shade.clip(0, 1), dtype=np.uint8)


def _resize(field: NDArray[np.float64], interpolation: int) -> NDArray[np.float64]:
    resized = cv2.resize(field, (CANVAS_SIDE, CANVAS_SIDE), interpolation=interpolation)
    return np.asarray(resized, dtype=np.float64)
