"""Pictures that several tests draw."""

from collections.abc import Sequence

import cv2
import numpy as np

from mnist_lightning.preprocessing.decode import Bytes


def row_of_digits(digits: Bytes, gap: int = 6) -> Bytes:
    """MNIST's digits (N, 28, 28) side by side, dark on a light canvas, each four times as large."""
    parts = [cv2.copyMakeBorder(digit[:, digit.any(axis=0)], 4, 4, gap, gap, cv2.BORDER_CONSTANT) for digit in digits]
    canvas = np.concatenate(parts, axis=1)
    return np.asarray(255 - cv2.resize(canvas, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def lines_of_digits(lines: Sequence[Bytes]) -> Bytes:
    """Lines of MNIST's digits, each as of `row_of_digits`, below each other and flush left."""
    rows = [row_of_digits(line) for line in lines]
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1])), constant_values=255) for row in rows])


def touching_digits(first: Bytes, second: Bytes, overlap: int = 2) -> Bytes:
    """Two of MNIST's digits (28, 28) that share `overlap` columns, as `row_of_digits` draws them."""
    left, right = (digit[:, digit.any(axis=0)] for digit in (first, second))
    both = np.zeros((len(left), left.shape[1] + right.shape[1] - overlap), np.uint8)
    both[:, : left.shape[1]] = left
    both[:, -right.shape[1] :] = np.maximum(both[:, -right.shape[1] :], right)
    return row_of_digits(both[None], gap=10)


def bars(lines: int, count: int) -> Bytes:
    """Lines of slanted bars of different heights, dark on light, each of which reads as a 1."""
    canvas = np.full((60 * lines + 40, 30 * count + 50), 255, np.uint8)
    for line in range(lines):
        for place in range(count):
            x, y, rise = 40 + 30 * place, 40 + 60 * line, 3 * ((place * 2 + line) % 3)
            cv2.line(canvas, (x + 8, y + rise), (x, y + 40), 0, 4, cv2.LINE_AA)
    return canvas


def encode_png(array: Bytes) -> bytes:
    """The array as a PNG file."""
    return cv2.imencode(".png", array)[1].tobytes()
