"""Separate ink from paper, for any colors of both, in even and uneven light."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mnist_lightning.preprocessing.decode import Bytes, image_pyramid
from mnist_lightning.preprocessing.errors import NoDigitError

Floats = NDArray[np.float32]
Everywhere = NDArray[np.float64] | Bytes  # the paper for OpenCV: a color, or an image of the same size
Part = tuple[slice, slice]  # rows and columns of an image

WHOLE: Part = (slice(None), slice(None))
NO_INK = "no ink in the picture: nothing stands out from its background"
UNEVEN_LIGHT = 12  # of 255: a border that varies by more is lit unevenly
MIN_CONTRAST = 8  # of 255, between paper and ink
GRAYS = np.arange(256, dtype=np.float32)
SQUARES = np.arange(MIN_CONTRAST, 256, dtype=np.float32) ** 2


@dataclass(frozen=True)
class ForegroundModel:
    """The paper's color everywhere, and the direction in color space in which ink differs from it."""

    paper: Bytes  # (C,), or in uneven light a small image of it, (h, w, C) or (h, w)
    direction: Floats  # (C,), a unit vector
    depth: float  # distance of full ink from the paper along it

    @property
    def is_uneven(self) -> bool:
        """Whether the paper's color varies, as in a photograph."""
        return self.paper.ndim > 1

    @classmethod
    def fit(cls, image: Bytes) -> "tuple[ForegroundModel, Bytes]":
        """Fit a model to an image; the model, and the image's ink as `foreground` returns it.

        Raises NoDigitError if nothing stands out from the paper.
        """
        paper = _paper(image)
        if image.ndim == 2 and paper.ndim == 1:
            model = cls._fit_grays(image, paper)
            return model, model.foreground(image)
        everywhere = _broadcast(paper, image)
        contrast = _max_channel(np.asarray(cv2.absdiff(image, everywhere), dtype=np.uint8))
        contrast = contrast * (contrast >= MIN_CONTRAST)  # ink and noise: few of the pixels
        if not contrast.any():
            raise NoDigitError(NO_INK)
        direction = _weighted_offset(image, paper, everywhere, contrast)
        direction /= max(float(np.linalg.norm(direction)), 1e-6)
        along = _along(image, paper, everywhere, direction)
        inked = along[contrast > 0]
        rank = _depth_rank(contrast.size, len(inked))
        depth = float(np.partition(inked, -rank)[-rank])
        if depth < MIN_CONTRAST:
            raise NoDigitError(NO_INK)
        return cls(paper, direction, depth), _to_bytes(along, depth)

    @classmethod
    def _fit_grays(cls, image: Bytes, paper: Bytes) -> "ForegroundModel":
        """As `fit`, for a gray image on even paper, by the histogram of its 256 grays."""
        counts, gray = cv2.calcHist([image], [0], None, [256], [0, 256]).ravel(), int(paper[0])
        # Counts by distance from the paper, from MIN_CONTRAST up.
        darker, lighter = counts[: max(gray - MIN_CONTRAST + 1, 0)][::-1], counts[gray + MIN_CONTRAST :]
        is_light = bool(lighter @ SQUARES[: len(lighter)] > darker @ SQUARES[: len(darker)])
        deepest_first = (lighter if is_light else darker)[::-1].cumsum()
        rank = _depth_rank(image.size, int(darker.sum() + lighter.sum()))
        place = int(deepest_first.searchsorted(rank))
        if place == len(deepest_first):
            raise NoDigitError(NO_INK)
        depth = MIN_CONTRAST + len(deepest_first) - 1 - place
        return cls(paper, np.array([1 if is_light else -1], dtype=np.float32), float(depth))

    def foreground(self, array: Bytes, part: Part = WHOLE) -> Bytes:
        """The ink in a part of the same image at any resolution: (h, w), 0 on paper, 255 in full ink."""
        if array.ndim == 2 and not self.is_uneven:
            grays = (GRAYS - self.paper[0]) * self.direction[0]
            return np.asarray(cv2.LUT(array[part], _to_bytes(grays, self.depth)), dtype=np.uint8)
        everywhere = _broadcast(self.paper, array)
        own = everywhere[part] if self.is_uneven else everywhere
        return _to_bytes(_along(array[part], self.paper, own, self.direction), self.depth)


def flatten_alpha(array: Bytes) -> Bytes:
    """Blend RGBA onto white paper, or onto black if the ink is white; images without alpha are returned unchanged."""
    if array.ndim == 2 or array.shape[2] == 3:
        return array
    alpha = array[:, :, 3:].astype(np.uint16)
    if alpha.min() == 255:
        return array[:, :, :3]
    color = array[:, :, :3] * alpha // 255
    on_white = (color + 255 - alpha).astype(np.uint8)
    return on_white if np.ptp(on_white) >= MIN_CONTRAST else color.astype(np.uint8)


def merge_equal_channels(array: Bytes) -> Bytes:
    """Gray that is stored as RGB, as browsers and palettes do, in one channel; other arrays are returned unchanged."""
    if array.ndim == 2:
        return array
    few = array[::16, ::16]  # a color picture shows its colors here already
    if (few != few[:, :, :1]).any():
        return array
    first, *others = cv2.split(array)
    is_gray = all(cv2.norm(first, other, cv2.NORM_INF) == 0 for other in others)
    return np.asarray(first, dtype=np.uint8) if is_gray else array


def _depth_rank(pixels: int, inked: int) -> int:
    """Which of the inked pixels, the deepest first and counted from 1, has full ink: the median of the deepest few."""
    return min(max(4, pixels // 2000), inked) // 2 + 1


def _paper(image: Bytes) -> Bytes:
    """The color of the border or, if that varies, a small image of the paper."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    border.sort(axis=0)  # each channel separately
    count = len(border)
    low, paper, high = border[[count // 8, count // 2, count - 1 - count // 8]].reshape(3, -1)
    uneven = max(int((high - paper).max()), int((paper - low).max())) > UNEVEN_LIGHT
    return _background(image) if uneven else paper


def _broadcast(paper: Bytes, array: Bytes) -> Everywhere:
    """The paper in the form that OpenCV combines with an image: a color, or an image of the same size."""
    if paper.ndim == 1:
        return paper.astype(np.float64)
    return np.asarray(cv2.resize(paper, array.shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _weighted_offset(image: Bytes, paper: Bytes, everywhere: Everywhere, weights: Bytes) -> Floats:
    """The sum over all pixels of their offset from the paper, by channel (C,), with weights (h, w)."""
    factors = weights.reshape(-1).astype(np.float32)
    if paper.ndim == 1:  # without an image of the offsets, which takes longer than the sum
        return np.asarray(factors @ _floats(image).reshape(factors.size, -1) - factors.sum() * paper, dtype=np.float32)
    return factors @ _offset(image, everywhere).reshape(factors.size, -1)


def _along(array: Bytes, paper: Bytes, everywhere: Everywhere, direction: Floats) -> Floats:
    """Each pixel's distance from the paper along a direction, (h, w)."""
    if paper.ndim == 1:
        affine = np.append(direction, -direction @ paper.astype(np.float32))
        return np.asarray(cv2.transform(_floats(array), affine[None]), dtype=np.float32)
    return np.asarray(cv2.transform(_offset(array, everywhere), direction[None]), dtype=np.float32)


def _offset(array: Bytes, everywhere: Everywhere) -> Floats:
    return np.asarray(cv2.subtract(array, everywhere, dtype=cv2.CV_32F), dtype=np.float32)


def _floats(array: Bytes) -> Floats:
    """The pixels as floats, which OpenCV sums five times as fast as bytes."""
    return array.astype(np.float32)


def _to_bytes(along: Floats, depth: float) -> Bytes:
    """Scale distances from the paper so that `depth` is 255, and clip to 0..255."""
    _, positive = cv2.threshold(along, 0, 0, cv2.THRESH_TOZERO)
    return np.asarray(cv2.convertScaleAbs(positive, alpha=255 / depth), dtype=np.uint8)


def _max_channel(difference: Bytes) -> Bytes:
    """The maximum over channels, (h, w)."""
    if difference.ndim == 2:
        return difference
    first, *others = cv2.split(difference)
    for other in others:
        first = cv2.max(first, other)
    return np.asarray(first, dtype=np.uint8)


def _background(image: Bytes) -> Bytes:
    """The paper without the ink, at 64 pixels: a median filter removes everything narrower than its window."""
    small = image_pyramid(image, 64)[-1]
    return np.asarray(cv2.medianBlur(small, min(small.shape[:2]) * 2 // 3 | 1), dtype=np.uint8)
