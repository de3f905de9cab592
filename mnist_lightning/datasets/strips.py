"""Strips for the line reader: composed lines as preprocessing finds them, and random changes of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from torch.utils.data import Dataset

from mnist_lightning.datasets.numbers import NOT_A_DIGIT, Glyphs, compose
from mnist_lightning.datasets.parallel import generate
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.lines import find_lines

CHUNK = 200  # lines that a process composes at once
MAX_DRAWING = 160  # pixels of a strip: a drawing of small parts makes a long one
NO_DIGITS = 0.05  # fraction of the lines that show a drawing

UNCHANGED = 0.15  # fraction of strips
SLANT, STRETCH, SHIFT = 0.25, 0.14, 1.5  # largest: pixels to the right for each down, logarithm of a scale, pixels
WAVE, KNOTS = 3.0, 24  # pixels: deviation of the places of points along a strip, and the distance between these
PEN = 0.2  # fraction of strips whose strokes become wider or thinner


@dataclass(frozen=True)
class LineSample:
    """A line as the reader receives it."""

    strip: Bytes  # (STRIP_HEIGHT, W), 0 to 255
    classes: list[int]  # 0 to 9, or NOT_A_DIGIT


class Distorted(Dataset[LineSample]):
    """Lines, each changed anew whenever it is taken."""

    def __init__(self, lines: Sequence[LineSample], rng: Generator) -> None:
        self.lines, self.rng = lines, rng

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, place: int) -> LineSample:
        line = self.lines[place]
        return LineSample(distort(line.strip, self.rng), line.classes)


def distort(strip: Bytes, rng: Generator) -> Bytes:
    """A strip slanted, stretched, shifted, with wider and narrower digits, and at times with another pen."""
    if rng.random() < UNCHANGED:
        return strip
    height, width = strip.shape
    slant, shift = rng.uniform(-SLANT, SLANT), rng.uniform(-SHIFT, SHIFT)
    across, down = np.exp(rng.uniform(-STRETCH, STRETCH, 2))
    ends = np.arange(0, width + KNOTS, KNOTS)
    target = max(8, round(width * across))
    places = np.linspace(0, width - 1, target)
    places = places + np.interp(places, ends, rng.normal(0, WAVE, len(ends)))
    rows = (np.arange(height) - (height - 1) / 2)[:, None]
    xs = places + slant * rows
    ys = np.broadcast_to(rows / down + (height - 1) / 2 + shift, xs.shape)
    made = cv2.remap(strip, xs.astype(np.float32), ys.astype(np.float32), cv2.INTER_LINEAR)
    if rng.random() < PEN:
        change = (cv2.erode, cv2.dilate)[int(rng.integers(2))](made, np.ones((2, 2), np.uint8))
        made = cv2.addWeighted(made, 0.5, change, 0.5, 0)
    return np.asarray(made, dtype=np.uint8)


def samples(glyphs: Glyphs, count: int, seed: int) -> list[LineSample]:
    """Compose many lines, on all processor cores; the same arguments give the same ones."""
    tasks = [(seed, range(first, min(first + CHUNK, count))) for first in range(0, count, CHUNK)]
    return [sample for part in generate(_compose_chunk, glyphs, tasks) for sample in part]


def _compose_chunk(glyphs: Glyphs, task: tuple[int, range]) -> list[LineSample]:
    seed, places = task
    return [_sample(glyphs, np.random.default_rng([seed, place])) for place in places]


def _sample(glyphs: Glyphs, rng: Generator) -> LineSample:
    """A random line that is found as one line, or a part of a drawing."""
    while True:
        if rng.random() < NO_DIGITS:
            found = find_lines(_drawing(glyphs, rng))
            if found:
                strip = found[int(rng.integers(len(found)))].strip
                start = int(rng.integers(max(1, strip.shape[1] - MAX_DRAWING + 1)))
                return LineSample(np.ascontiguousarray(strip[:, start : start + MAX_DRAWING]), [NOT_A_DIGIT])
            continue
        made = compose(glyphs, rng)
        found = find_lines(made.ink)
        if len(found) == 1:
            xs = np.array(made.centers) @ found[0].matrix[0, :2]
            return LineSample(found[0].strip, [made.classes[place] for place in np.argsort(xs)])


def _drawing(glyphs: Glyphs, rng: Generator) -> Bytes:
    """The ink of a drawing, in any proportions."""
    drawing = glyphs.drawings[int(rng.integers(len(glyphs.drawings)))]
    size = rng.integers(40, 200, 2).tolist()
    return np.asarray(cv2.resize(drawing, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
