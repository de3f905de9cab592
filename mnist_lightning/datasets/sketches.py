"""Scribbles, faces, drawings, blots, textures and noise, drawn at random: canvases with 255 in the ink."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mnist_lightning.preprocessing.decode import Bytes

SIDE = 96  # pixels of a canvas
Make = Callable[[Generator], Bytes]  # a canvas, (SIDE, SIDE)


def drawn(strokes: Sequence[NDArray[np.float64]], dice: Generator) -> Bytes:
    """Strokes (n, 2) in [0, 1] as x, y, by one pen."""
    canvas, pen = np.zeros((SIDE, SIDE), np.uint8), int(dice.integers(2, 8))
    for stroke in strokes:
        points = (stroke * (SIDE - 16) + 8) * 16
        cv2.polylines(canvas, [points.round().astype(np.int32)], False, 255, pen, cv2.LINE_AA, 4)
    return canvas


def curve(points: NDArray[np.float64], steps: int = 12) -> NDArray[np.float64]:
    """A smooth stroke through points (n, 2): Catmull and Rom's spline."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, 1, steps)[:, None]
    basis = np.concatenate([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1) / 2
    return np.concatenate([basis @ padded[i : i + 4] for i in range(len(points) - 1)])


def scribble(dice: Generator) -> Bytes:
    """One to three smooth strokes through random places, of many bends."""
    bends = dice.integers(5, 14, int(dice.integers(1, 4)))
    return drawn([curve(dice.random((n, 2))) for n in bends], dice)


def zigzag(dice: Generator) -> Bytes:
    """To and fro while going on, sharp or round."""
    count = int(dice.integers(5, 14))
    along = np.linspace(0, 1, count) + dice.normal(0, 0.03, count)
    aside = 0.5 + (np.arange(count) % 2 - 0.5) * dice.uniform(0.4, 1) + dice.normal(0, 0.06, count)
    points = np.stack([along, aside] if dice.random() < 0.5 else [aside, along], axis=1)
    return drawn([points if dice.random() < 0.5 else curve(points)], dice)


def lines(dice: Generator) -> Bytes:
    """Three to seven straight strokes anywhere."""
    return drawn(list(dice.random((int(dice.integers(3, 8)), 2, 2))), dice)


def _ring(
    x: float, y: float, wide: float, high: float, start: float = 0, end: float = 2 * np.pi
) -> NDArray[np.float64]:
    angle = np.linspace(start, end, 40)
    return np.stack([x + wide * np.cos(angle), y + high * np.sin(angle)], axis=1)


def face(dice: Generator) -> Bytes:
    wide, high, mouth, eyes = dice.uniform((0.35, 0.35, -0.2, 0.12), (0.48, 0.48, 0.25, 0.2))
    smile = np.array([[0.5 - 0.2, 0.68], [0.5, 0.68 + mouth / 2], [0.5 + 0.2, 0.68]])
    size = dice.uniform(0.01, 0.06)
    parts = [_ring(0.5 + side * eyes, 0.38, size, size) for side in (-1, 1)]
    nose = [np.array([[0.5, 0.45], [0.47, 0.56]])] if dice.random() < 0.4 else []
    return drawn([_ring(0.5, 0.5, wide, high), curve(smile), *parts, *nose], dice)


# Corners of simple drawings, stroke by stroke, as x, y in tenths.
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


def drawing(dice: Generator) -> Bytes:
    chosen = str(dice.choice(list(DRAWINGS)))
    strokes = [
        np.array([[float(n) / 10 for n in point.split(",")] for point in stroke.split()])
        for stroke in DRAWINGS[chosen].split(";")
    ]
    moved = [stroke + dice.normal(0, 0.03, stroke.shape) for stroke in strokes]
    mirrored = dice.random() < 0.5
    return drawn([np.abs([int(mirrored), 0] - stroke) for stroke in moved], dice)


def texture(dice: Generator) -> Bytes:
    """Stripes, checks, dots or clouds."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    angle, waves = dice.uniform(0, np.pi), dice.uniform(3, 14)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kinds = [np.sin(2 * np.pi * waves * u), np.sin(2 * np.pi * waves * u) * np.sin(2 * np.pi * waves * v)]
    cells = int(dice.integers(4, 16))
    kinds.append(cv2.resize(dice.normal(0, 1, (cells, cells)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))
    field = kinds[dice.integers(3)]
    bar = dice.uniform(0, 0.6)
    hard = np.clip((field - bar) * dice.uniform(2, 20), 0, 1) * 255
    return np.asarray(hard, dtype=np.uint8)


def noise(dice: Generator) -> Bytes:
    """Grains of a size, in a patch or all over."""
    cells = int(dice.choice([14, 28, 48, 96]))
    grains = (dice.random((cells, cells)) < dice.uniform(0.02, 0.5)) * dice.uniform(80, 255, (cells, cells))
    field = cv2.resize(grains, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return np.asarray(field, dtype=np.uint8)


def blot(dice: Generator) -> Bytes:
    """A filled shape."""
    canvas, count = np.zeros((SIDE, SIDE), np.uint8), int(dice.integers(3, 9))
    angles = np.sort(dice.uniform(0, 2 * np.pi, count))
    radii = dice.uniform(10, 44, count)
    points = SIDE / 2 + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
    cv2.fillPoly(canvas, [points.round().astype(np.int32)], 255, cv2.LINE_AA)
    return canvas


def thing(dice: Generator) -> Bytes:
    """A filled outline, the same on both sides, shaded unevenly: what is left of a photographed thing."""
    heights = np.linspace(0, 1, 9)
    halves = np.clip(dice.uniform(0.15, 0.4) + np.cumsum(dice.normal(0, 0.1, 9)), 0.06, 0.48)
    if dice.random() < 0.3:
        halves[: dice.integers(2, 6)] = 0.48  # arms
    outline = np.concatenate([np.stack([0.5 + halves, heights], 1), np.stack([0.5 - halves, heights], 1)[::-1]])
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(canvas, [(curve(outline) * (SIDE - 16) + 8).round().astype(np.int32)], 255, cv2.LINE_AA)
    if dice.random() < 0.3:  # legs
        canvas[SIDE // 3 :, int(SIDE * dice.uniform(0.44, 0.49)) : int(SIDE * dice.uniform(0.51, 0.56))] = 0
    cells = int(dice.integers(2, 12))
    shade = cv2.resize(dice.uniform(dice.uniform(0.1, 0.9), 1, (cells, cells)), (SIDE, SIDE))
    return np.asarray(canvas * shade.clip(0, 1), dtype=np.uint8)
