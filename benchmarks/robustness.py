"""Measure how robust the classifier is: by presentation, by corruption, and without each preprocessing step.

    .venv/bin/python -m benchmarks.robustness                        # on presentations and corruptions of MNIST
    .venv/bin/python -m benchmarks.robustness --pictures FOLDER ...  # and on folders of labelled pictures

Prints Markdown tables and, last, one line of JSON; writes docs/readings.png and docs/curves.png.
"""

import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from benchmarks.ablation import EVERYTHING, LabeledFiles, ablation, accuracy
from benchmarks.common import conditions, make_parser
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.datasets import mnist, samples
from mnist_lightning.evaluation import plots
from mnist_lightning.evaluation.corruptions import CORRUPTIONS
from mnist_lightning.evaluation.presentations import (
    PRESENTATIONS,
    Generator,
    Presentation,
    encode,
    paint,
    rotate,
    strokes,
)
from mnist_lightning.models import archive
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.normalize import from_bytes

SEED = 1
WIDTH_CHANGES = (-7, -5, -3, 0, 4, 8, 12, 16, 20, 26)  # pixels, on a digit of 200 pixels
ANGLES = tuple(range(-45, 46, 9))  # degrees
EXAMPLES = {  # shown in docs/readings.png: an index into the test set for each presentation
    "sketchpad": 3,
    "blackboard": 2,
    "fine_pen": 1,
    "thick_pen": 18,
    "colored": 4,
    "lamp": 15,
    "shadow": 11,
    "squared": 0,
    "specks": 61,
    "lost": 7,
}
Curves = Mapping[str, Mapping[str, Sequence[float]]]


def main() -> int:
    """Measure, print, and draw the figures."""
    parser = make_parser(__doc__, "store", "data", "docs")
    parser.add_argument("--pictures", type=Path, nargs="*", default=[], help="folders of labelled pictures")
    parser.add_argument("--digits", type=int, default=1000, help="MNIST digits in each presentation (%(default)s)")
    options = parser.parse_args()
    print(conditions() + "\n")
    cv2.setNumThreads(1)
    network = archive.load_network(options.store / ARCHIVE)
    test_images, test_labels = mnist.load(options.data, train=False)
    images, labels = test_images[: options.digits, 0].numpy(), test_labels[: options.digits].numpy()
    presented = {name: present_all(images, labels, present) for name, present in PRESENTATIONS.items()}
    corrupted = {name: present_all(images, labels, as_bmp(corrupt)) for name, corrupt in CORRUPTIONS.items()}
    sets = {folder.name: load_folder(folder) for folder in options.pictures}
    sets |= {
        "presented": concatenate(presented.values()),
        "corrupted": concatenate(corrupted.values()),
        "MNIST": present_all(images, labels, as_bmp(lambda image, rng: image)),
    }
    curves = robustness_curves(network, images, labels)
    report = {
        "presentations": {name: accuracy(network, files) for name, files in presented.items()},
        "corruptions": {name: 100 - accuracy(network, files) for name, files in corrupted.items()},
        "ablation": ablation(network, sets),
        "curves": curves,
    }
    _print(report)
    options.docs.mkdir(exist_ok=True)
    plots.save(_plot_curves(curves), options.docs / "curves.png", dpi=100)
    plots.save(_plot_examples(network, test_images[:, 0].numpy()), options.docs / "readings.png", dpi=90)
    print(json.dumps(report))
    return 0


def present_all(images: Bytes, labels: NDArray[np.int64], present: Presentation) -> LabeledFiles:
    """All images (N, 28, 28) in one presentation."""
    rng = np.random.default_rng(SEED)
    return LabeledFiles([present(image, rng) for image in images], labels)


def robustness_curves(network: DigitNet, images: Bytes, labels: NDArray[np.int64]) -> Curves:
    """Accuracy over the stroke width and over the angle by which a digit is rotated."""

    def curve(present: Callable[[Bytes, float], bytes], values: Sequence[float]) -> dict[str, Sequence[float]]:
        sets = [LabeledFiles([present(image, value) for image in images], labels) for value in values]
        return {"x": [float(value) for value in values], "accuracy": [accuracy(network, files) for files in sets]}

    return {
        "stroke width, in pixels more than MNIST's on a digit of 200": curve(_with_stroke_width, WIDTH_CHANGES),
        "rotation, in degrees": curve(_rotated, ANGLES),
    }


def _with_stroke_width(image: Bytes, change: float) -> bytes:
    ink = strokes(image, 200)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (abs(int(change)) + 1,) * 2)
    changed = cv2.dilate(ink, kernel) if change > 0 else cv2.erode(ink, kernel)
    return encode(paint(np.pad(changed, 40)))


def _rotated(image: Bytes, degrees: float) -> bytes:
    return encode(paint(rotate(strokes(image, 200), degrees)))


def as_bmp(change: Callable[[Bytes, Generator], Bytes]) -> Presentation:
    """The presentation of MNIST's digits after a change of their pixels."""
    return lambda image, rng: encode(change(image, rng), "BMP")


def load_folder(folder: Path) -> LabeledFiles:
    """The labelled pictures of a folder."""
    found = list(samples.load_folder(folder))
    return LabeledFiles([sample.content for sample in found], np.array([sample.label for sample in found]))


def concatenate(sets: Iterable[LabeledFiles]) -> LabeledFiles:
    """All files of several sets."""
    contents, labels = zip(*sets, strict=True)
    return LabeledFiles(list(chain.from_iterable(contents)), np.concatenate(labels))


def _print(report: Mapping[str, Any]) -> None:
    names = list(report["ablation"][EVERYTHING])
    print("| step | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
    for variant, row in report["ablation"].items():
        print(f"| {variant} | " + " | ".join(f"{row[name]:.2f}" for name in names) + " |")
    for part, heading in (("presentations", "accuracy, %"), ("corruptions", "error, %")):
        values = report[part]
        print(f"\n| {part} | {heading} |\n|---|---:|")
        for name, value in values.items():
            print(f"| {name.replace('_', ' ')} | {value:.1f} |")
        print(f"| mean | {np.mean(list(values.values())):.2f} |")


def _plot_curves(curves: Curves) -> Figure:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, (name, curve) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
        axes.plot(curve["x"], curve["accuracy"], marker="o")
        axes.set(xlabel=name, ylabel="accuracy, %")
        axes.grid(alpha=0.3)
    return figure


@torch.inference_mode()
def _plot_examples(network: DigitNet, images: Bytes) -> Figure:
    """The EXAMPLES as they are sent and as the network receives them, with its predictions."""
    figure = Figure(figsize=(12, 3.1), layout="constrained")
    rows = figure.subplots(2, len(EXAMPLES))
    for column, (presentation, index) in enumerate(EXAMPLES.items()):
        content = PRESENTATIONS[presentation](images[index], np.random.default_rng(column))
        model_input = from_bytes(content)
        probabilities = network(torch.from_numpy(model_input)[None, None])[0].softmax(0)
        rows[0, column].imshow(np.asarray(Image.open(io.BytesIO(content))))
        rows[1, column].imshow(model_input, cmap="gray")
        label = f"{int(probabilities.argmax())}   {100 * float(probabilities.max()):.1f} %"
        rows[1, column].set_xlabel(label, fontsize=11)
        for axes in rows[:, column]:
            axes.set(xticks=[], yticks=[])
    rows[0, 0].set_ylabel("sent")
    rows[1, 0].set_ylabel("model input")
    return figure


if __name__ == "__main__":
    sys.exit(main())
