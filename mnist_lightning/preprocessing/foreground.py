"""Telling ink from paper: whatever their colours, under even light or not."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mnist_lightning.preprocessing.decode import Bytes, NoDigitError, halvings

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
    def of(cls, look: Bytes) -> "tuple[Pen, Bytes]":
        """The pen of a picture, and its ink as `strength` gives it. Raises NoDigitError where nothing stands out."""
        paper = _paper(look)
        force = _strongest(np.asarray(cv2.absdiff(look, _everywhere(paper, look)), dtype=np.uint8))
        force = force * (force >= LEAST_CONTRAST)  # ink and noise: few of the pixels
        if not force.any():
            raise NoDigitError(NO_INK)
        away = _away(look, paper)
        flat = force.reshape(-1)
        direction = flat.astype(np.float32) @ away.reshape(flat.size, -1)  # what differs more counts more
        direction /= max(float(np.linalg.norm(direction)), 1e-6)
        along = np.asarray(cv2.transform(away, direction[None]), dtype=np.float32)
        inked = along.reshape(-1)[flat > 0]
        count = min(max(4, flat.size // 2000), len(inked))
        depth = float(np.partition(inked, -count)[-(count + 1) // 2])  # the median of the deepest
        if depth < LEAST_CONTRAST:
            raise NoDigitError(NO_INK)
        return cls(paper, direction, depth), _share(along, depth)

    def strength(self, array: Bytes) -> Bytes:
        """Ink in the pixels of the same picture in any resolution, 0 on paper, 255 in full ink: (h, w)."""
        along = cv2.transform(_away(array, self.paper), self.direction[None])
        return _share(np.asarray(along, dtype=np.float32), self.depth)


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


def _paper(look: Bytes) -> Bytes:
    """The colour of the border or, where that varies, a small picture of the paper."""
    border = np.concatenate([look[0], look[-1], look[:, 0], look[:, -1]])
    border = border.reshape(len(border), -1)
    low, middle, high = len(border) // 8, len(border) // 2, len(border) - 1 - len(border) // 8
    border = np.partition(border, (low, middle, high), axis=0)  # each channel for itself
    paper = border[middle]
    uneven = max(int((border[high] - paper).max()), int((paper - border[low]).max())) > UNEVEN
    return _background(look) if uneven else np.asarray(paper, dtype=np.uint8)


def _everywhere(paper: Bytes, array: Bytes) -> NDArray[np.float64] | Bytes:
    """The paper as OpenCV takes it beside a picture of any resolution: a colour, or a picture of the same size."""
    if paper.ndim == 1:
        return paper.astype(np.float64)
    return np.asarray(cv2.resize(paper, array.shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _away(array: Bytes, paper: Bytes) -> Floats:
    """How far each pixel is from the paper, channel by channel; OpenCV sums floats five times as fast as bytes."""
    return np.asarray(cv2.subtract(array, _everywhere(paper, array), dtype=cv2.CV_32F), dtype=np.float32)


def _share(along: Floats, depth: float) -> Bytes:
    """Distances from the paper -> bytes, 255 at full depth and beyond, 0 on the paper and on its other side."""
    return np.asarray(cv2.convertScaleAbs(np.maximum(along, 0), alpha=255 / depth), dtype=np.uint8)


def _strongest(difference: Bytes) -> Bytes:
    """The largest of the channels, (h, w)."""
    if difference.ndim == 2:
        return difference
    first, *others = cv2.split(difference)
    for other in others:
        first = cv2.max(first, other)
    return np.asarray(first, dtype=np.uint8)


def _background(look: Bytes) -> Bytes:
    """The paper under the ink, at 64 pixels: what remains when everything narrower than the median's window goes."""
    small = halvings(look, 64)[-1]
    return np.asarray(cv2.medianBlur(small, min(small.shape[:2]) * 2 // 3 | 1), dtype=np.uint8)
