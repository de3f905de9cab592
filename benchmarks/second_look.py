"""What the second look at unsure pictures is worth: turned digits that are read, and outliers that pass for digits.

    .venv/bin/python -m benchmarks.second_look --digits 1000

Prints two Markdown tables and, last, one line of JSON.
"""

import json
import sys
from collections.abc import Sequence
from unittest.mock import patch

import numpy as np

from benchmarks.common import conditions, make_parser
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.datasets import mnist, outliers
from mnist_lightning.datasets.sketches import DrawFunction
from mnist_lightning.evaluation.classify import answer_images
from mnist_lightning.evaluation.presentations import encode, paint, rotate, strokes
from mnist_lightning.inference import second_look
from mnist_lightning.models.archive import load_network
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing.decode import decode
from mnist_lightning.preprocessing.errors import NoDigitError
from mnist_lightning.preprocessing.normalize import NormalizedImage, normalize_with_count

ANGLES = (0, 10, 20, 30, 40, 45, 60, 90)  # degrees
HEIGHT = 180  # pixels, of a digit


def main() -> int:
    """Measure, and print."""
    parser = make_parser(__doc__, "store", "data")
    parser.add_argument("--digits", type=int, default=1000, help="test digits at each angle (%(default)s)")
    parser.add_argument("--outliers", type=int, default=200, help="outliers of each kind (%(default)s)")
    options = parser.parse_args()
    network = load_network(options.store / ARCHIVE)
    images, labels = mnist.load(options.data, train=False)
    digits, expected = images[: options.digits, 0].numpy(), labels[: options.digits].numpy()
    print(
        conditions()
        + "\n\n| turned by, degrees | first look, % | second look, % | with `rotation`, % | with a note, % |"
    )
    print("|---:|---:|---:|---:|---:|")
    report: dict[str, dict[str, Sequence[float]]] = {"turned": {}, "outliers": {}}
    for angle in ANGLES:
        signs = np.where(np.arange(len(digits)) % 2, 1, -1)
        sheets = (rotate(strokes(digit, HEIGHT), sign * angle) for digit, sign in zip(digits, signs, strict=True))
        row = measure_digits(
            network, [normalize_with_count(decode(encode(paint(sheet)))) for sheet in sheets], expected
        )
        report["turned"][str(angle)] = row
        print(f"| {angle} | {' | '.join(f'{value:.1f}' for value in row)} |", flush=True)
    print("\n| outliers | rejected by the first look, % | by the second, % |\n|---|---:|---:|")
    for kind, draw in outliers.OUTLIER_KINDS.items():
        row = measure_outliers(network, draw_outliers(kind, draw, options.outliers))
        report["outliers"][kind] = row
        print(f"| {kind} | {row[0]:.1f} | {row[1]:.1f} |", flush=True)
    print("\n" + json.dumps(report))
    return 0


def measure_digits(network: DigitNet, images: Sequence[NormalizedImage], labels: np.ndarray) -> Sequence[float]:
    """Percentages: read correctly without and with the second look; with a rotation and with a note in the latter."""
    first, second = answer_twice(network, images)
    read = [np.array([answer["prediction"] for answer in answers]) == labels for answers in (first, second)]
    shares = [np.array([field in answer for answer in second]) for field in ("rotation", "note")]
    return [100 * float(share.mean()) for share in (*read, *shares)]


def measure_outliers(network: DigitNet, images: Sequence[NormalizedImage]) -> Sequence[float]:
    """Percentages that are rejected without and with the second look."""
    looks = answer_twice(network, images)
    return [100 * float(np.mean(["note" in answer for answer in answers])) for answers in looks]


def answer_twice(network: DigitNet, images: Sequence[NormalizedImage]) -> Sequence[Sequence[dict[str, object]]]:
    """The answers without the second look, and with it."""
    with patch.object(second_look, "is_unsure", lambda *_: False):
        first = answer_images(network, images)
    return [dict(answer) for answer in first], [dict(answer) for answer in answer_images(network, images)]


def draw_outliers(kind: str, draw: DrawFunction, count: int) -> list[NormalizedImage]:
    """Outliers of one kind, as the server receives them."""
    rng, images = np.random.default_rng([9, *kind.encode()]), list[NormalizedImage]()
    while len(images) < count:
        try:
            images.append(normalize_with_count(outliers.vary_canvas(draw(rng), rng)))
        except NoDigitError:
            continue
    return images


if __name__ == "__main__":
    sys.exit(main())
