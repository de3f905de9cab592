"""Telling ink from paper: whatever their colours, under even light or not."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mnist_lightning.pictures import Bytes, NoDigitError, resized

Floats = NDArray[np.float32]

NO_INK = "no ink in the picture: nothing stands out from its background"
UNEVEN = 12  # of 255: a border that varies by more is taken for uneven light
LEAST_CONTRAST = 8  # of 255, between paper and ink


@dataclass(frozen=True)
class Pen:
    """What tells ink from paper in a picture: the paper's colour everywhere, the ink's direction away from it."""

    paper: Bytes  # (C,), or a small picture of it, (h, w, C) or (h, w), where the light is uneven
    direction: Floats  # (C,), of length 1
    depth: float  # how far along it full ink lies

    @classmethod
    def of(cls, look: Bytes) -> "Pen":
        """The pen of a picture. Raises NoDigitError where nothing stands out from the paper."""
        border = np.concatenate([look[0], look[-1], look[:, 0], look[:, -1]])
        border = np.sort(border.reshape(len(border), -1), axis=0)  # each channel for itself
        count = len(border)
        paper = border[count // 2]
        spread = cv2.absdiff(border[[count // 8, -count // 8]], np.stack([paper, paper]))
        if spread.max() > UNEVEN:
            paper = _background(look)
        force = _strongest(_difference(look, paper))
        inked = force >= LEAST_CONTRAST  # ink and noise: few of the pixels
        if not inked.any():
            raise NoDigitError(NO_INK)
        under = paper if paper.ndim == 1 else _paper_at(paper, look)[inked]
        away = look[inked].astype(np.float32).reshape(-1, len(border[0])) - under.reshape(-1, len(border[0]))
        direction = force[inked].astype(np.float32) @ away  # what differs more counts more: ink outweighs noise
        direction /= max(float(np.linalg.norm(direction)), 1e-6)
        along = away @ direction
        count = min(max(4, force.size // 2000), len(along))
        depth = float(np.partition(along, -count)[-(count + 1) // 2])  # the median of the deepest
        if depth < LEAST_CONTRAST:
            raise NoDigitError(NO_INK)
        return cls(paper, direction, depth)

    def strength(self, array: Bytes, rows: slice = slice(None), columns: slice = slice(None)) -> Bytes:
        """Ink in the pixels of a part of the picture, 0 on paper, 255 in full ink: (h, w)."""
        weights = self.direction * (255 / self.depth)
        part = array[rows, columns]
        if self.paper.ndim == 1:  # a weighted sum of the channels, cut off at 0 and 255
            matrix = np.append(weights, -weights @ self.paper)[None].astype(np.float32)
            return np.asarray(cv2.transform(part, matrix), dtype=np.uint8)
        paper = _paper_at(self.paper, array)[rows, columns]
        away = cv2.subtract(part, paper, dtype=cv2.CV_32F)
        return np.asarray(np.clip(cv2.transform(away, weights[None]), 0, 255), dtype=np.uint8)


def without_alpha(array: Bytes) -> Bytes:
    """RGBA -> RGB, on white paper or, where the ink itself is white, on black; others stay as they are."""
    if array.ndim == 2 or array.shape[2] == 3:
        return array
    alpha = array[:, :, 3:].astype(np.uint16)
    if alpha.min() == 255:
        return array[:, :, :3]
    colour = array[:, :, :3] * alpha // 255
    on_white = (colour + 255 - alpha).astype(np.uint8)
    return on_white if np.ptp(on_white) >= LEAST_CONTRAST else colour.astype(np.uint8)


def _difference(look: Bytes, paper: Bytes) -> Bytes:
    """How far each pixel is from the paper, channel by channel."""
    if paper.ndim > 1:
        return np.asarray(cv2.absdiff(look, _paper_at(paper, look)), dtype=np.uint8)
    return np.asarray(cv2.absdiff(look, paper.astype(np.float64)), dtype=np.uint8)


def _strongest(difference: Bytes) -> Bytes:
    """The largest of the channels, (h, w)."""
    if difference.ndim == 2:
        return difference
    first, *others = cv2.split(difference)
    for other in others:
        first = cv2.max(first, other)
    return np.asarray(first, dtype=np.uint8)


def _paper_at(paper: Bytes, array: Bytes) -> Bytes:
    """A small picture of the paper in the resolution of the picture itself."""
    return np.asarray(cv2.resize(paper, array.shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _background(look: Bytes) -> Bytes:
    """The paper under the ink, at 64 pixels: what remains when everything narrower than the median's window goes."""
    small = resized(look, 64)
    return np.asarray(cv2.medianBlur(small, min(small.shape[:2]) * 2 // 3 | 1), dtype=np.uint8)
