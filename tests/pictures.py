"""Pictures that several tests draw."""

import cv2
import numpy as np

from mnist_lightning.preprocessing.decode import Bytes


def row_of_digits(digits: Bytes, gap: int = 6) -> Bytes:
    """MNIST's digits (N, 28, 28) side by side, dark on a light canvas, each four times as large."""
    parts = [cv2.copyMakeBorder(digit[:, digit.any(axis=0)], 4, 4, gap, gap, cv2.BORDER_CONSTANT) for digit in digits]
    canvas = np.concatenate(parts, axis=1)
    return np.asarray(255 - cv2.resize(canvas, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def encode_png(array: Bytes) -> bytes:
    """The array as a PNG file."""
    return cv2.imencode(".png", array)[1].tobytes()
