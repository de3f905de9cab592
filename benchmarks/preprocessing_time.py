"""Measure the time that preprocessing takes for a picture on one core, decoding included.

    .venv/bin/python -m benchmarks.preprocessing_time

Prints a table, the growth of memory over 10,000 pictures and, last, one line of JSON.
"""

import json
import resource
import sys
from functools import partial

import cv2
import numpy as np

from benchmarks.common import conditions, make_parser, median_seconds
from mnist_lightning.evaluation.presentations import encode
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.normalize import from_bytes, normalize

CASES = {  # name: (width, height, file format, noise of the paper, side of its squares or 0)
    "28×28": (28, 28, "PNG", 4, 0),
    "100×100": (100, 100, "PNG", 4, 0),
    "900×900": (900, 900, "PNG", 4, 0),
    "900×900 plain": (900, 900, "PNG", 0, 0),
    "900×900 jpeg": (900, 900, "JPEG", 4, 0),
    "12 megapixels": (4000, 3000, "JPEG", 4, 0),
    "300×300": (300, 300, "PNG", 4, 0),
    "300×300 squared": (300, 300, "PNG", 4, 30),
}
MAX_NORMALIZED_SIDE = 999  # larger pictures are not normalized at full size, so only the whole is measured
MEMORY_SIDES, MEMORY_PICTURES = (28, 60, 140, 300), 10_000


def main() -> int:
    """Measure all cases."""
    options = make_parser(__doc__, "repeats").parse_args()
    print(conditions() + "\n")
    cv2.setNumThreads(1)
    results: dict[str, dict[str, float]] = {}
    print(f"{'picture':16}{'decode + normalize':>20}{'normalize':>20}   median milliseconds of {options.repeats}")
    for name, (width, height, file_format, noise, squares) in CASES.items():
        picture = draw_picture(width, height, noise, squares)
        content = encode(picture, file_format, quality=90)
        results[name] = {"whole_ms": 1000 * median_seconds(partial(from_bytes, content), options.repeats)}
        if max(width, height) <= MAX_NORMALIZED_SIDE:
            results[name]["normalize_ms"] = 1000 * median_seconds(partial(normalize, picture), options.repeats)
        print(f"{name:16}" + "".join(f"{value:20.3f}" for value in results[name].values()))
    results["memory"] = {"growth_kib": memory_growth(MEMORY_PICTURES)}
    print(f"growth of memory over {MEMORY_PICTURES:,} pictures: {results['memory']['growth_kib']:.0f} KiB")
    print(json.dumps(results))
    return 0


def draw_picture(width: int, height: int, noise: int = 4, squares: int = 0) -> Bytes:
    """A 3 in blue ink on gray paper, (H, W, 3), with noise of up to `noise` of 255 and squares of a side."""
    canvas = np.full((height, width, 3), 225, np.uint8)
    side = min(width, height)
    for offset in (-1, 1):
        center = (width // 2, height // 2 + offset * side // 6)
        thickness = max(1, side // 14)
        cv2.ellipse(canvas, center, (side // 6, side // 6), 0, -140, 90, (40, 40, 150), thickness, cv2.LINE_AA)
    noise_values = np.random.default_rng(0).integers(-noise, noise + 1, canvas.shape, dtype=np.int16)
    picture: Bytes = (canvas + noise_values).clip(0, 255).astype(np.uint8)
    if squares:
        picture[::squares] = picture[:, ::squares] = (150, 170, 210)
    return picture


def memory_growth(count: int) -> float:
    """KiB by which the process's peak memory grows over the second half of `count` pictures."""
    contents = [encode(draw_picture(side, side)) for side in MEMORY_SIDES]
    for index in range(count):
        if index == count // 2:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        from_bytes(contents[index % len(contents)])
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


if __name__ == "__main__":
    sys.exit(main())
