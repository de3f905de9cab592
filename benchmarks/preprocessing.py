"""How long a picture takes on its way to MNIST's form, on one core, decoding included.

    .venv/bin/python -m benchmarks.preprocessing

Prints a table, the growth of memory over 10,000 pictures and, last, one line of JSON.
"""

import argparse
import io
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from PIL import Image

from mnist_lightning.preprocessing.normalize import from_bytes, normalise

CASES = {  # name: (width, height, format, grain of the paper)
    "28×28": (28, 28, "PNG", 4),
    "100×100": (100, 100, "PNG", 4),
    "900×900": (900, 900, "PNG", 4),
    "900×900 plain": (900, 900, "PNG", 0),
    "900×900 jpeg": (900, 900, "JPEG", 4),
    "12 megapixels": (4000, 3000, "JPEG", 4),
}


def main() -> int:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=51, help="timings of each case (%(default)s)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    results: dict[str, dict[str, float]] = {}
    print(f"{'picture':16}{'decode + normalise':>20}{'normalise':>20}   median milliseconds of {options.repeats}")
    for name, (width, height, form, grain) in CASES.items():
        picture = drawn(width, height, grain)
        file = io.BytesIO()
        picture.save(file, form, quality=90)
        results[name] = {"whole_ms": timed(partial(from_bytes, file.getvalue()), options.repeats)}
        if max(width, height) < 1000:
            results[name]["normalise_ms"] = timed(partial(normalise, np.asarray(picture)), options.repeats)
        print(f"{name:16}" + "".join(f"{value:20.3f}" for value in results[name].values()))
    results["memory"] = {"growth_kib": growth(10_000)}
    print(f"growth of memory over 10,000 pictures: {results['memory']['growth_kib']:.0f} KiB")
    print(json.dumps(results))
    return 0


def drawn(width: int, height: int, grain: int = 4) -> Image.Image:
    """A 3 in blue ink on grey paper, each pixel off by up to `grain` of 255."""
    dice = np.random.default_rng(0)
    canvas = np.full((height, width, 3), 225, np.uint8)
    side = min(width, height)
    thick, place = max(1, side // 14), (width // 2, height // 2)
    for offset in (-1, 1):
        middle = (place[0], place[1] + offset * side // 6)
        cv2.ellipse(canvas, middle, (side // 6, side // 6), 0, -140, 90, (40, 40, 150), thick, cv2.LINE_AA)
    noise = dice.integers(-grain, grain + 1, canvas.shape, dtype=np.int16)
    return Image.fromarray((canvas + noise).clip(0, 255).astype(np.uint8))


def timed(call: Callable[[], object], repeats: int) -> float:
    """Median milliseconds of a call."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds[1:])


def growth(count: int) -> float:
    """KiB by which the process's peak memory grew over the second half of `count` pictures."""
    contents = []
    for side in (28, 60, 140, 300):
        file = io.BytesIO()
        drawn(side, side).save(file, "PNG")
        contents.append(file.getvalue())
    for index in range(count):
        if index == count // 2:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        from_bytes(contents[index % len(contents)])
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


if __name__ == "__main__":
    sys.exit(main())
