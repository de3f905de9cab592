"""What each step of the preprocessing is worth, and how far it goes: the tables and figures of docs/drawn-digits.md.

    .venv/bin/python -m benchmarks.drawn_digits                        # on MNIST's digits, presented as people would
    .venv/bin/python -m benchmarks.drawn_digits --pictures FOLDER ...  # and on folders of labelled pictures

Prints Markdown tables and, last, one line of JSON; writes docs/readings.png and docs/curves.png.
"""

import argparse
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from benchmarks import damage, presentations
from benchmarks.ablation import Set, ablation, accuracy
from mnist_lightning.datasets import mnist, samples
from mnist_lightning.models import archive
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing import normalize

SEED = 1


def main() -> int:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="where mnist.mar is (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data/MNIST/raw"), help="MNIST's folder (%(default)s)")
    parser.add_argument("--pictures", type=Path, nargs="*", default=[], help="folders of labelled pictures")
    parser.add_argument("--digits", type=int, default=1000, help="MNIST digits in each presentation (%(default)s)")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where the figures go (%(default)s)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    network = archive.load_network(options.store / "mnist.mar")
    images, labels = (part.numpy() for part in mnist.load(options.data, train=False))
    digits = images[: options.digits, 0], labels[: options.digits]
    shown, damaged = _presented(*digits), _damaged(*digits)
    sets = {folder.name: _folder(folder) for folder in options.pictures}
    report: dict[str, object] = {
        "presentations": {name: accuracy(network, *shown[name]) for name in shown},
        "damage": {name: 100 - accuracy(network, *damaged[name]) for name in damaged},
    }
    sets |= {
        "presented": _joined(shown),
        "damaged": _joined(damaged),
        "MNIST": _presented(*digits, {"test": _bmp})["test"],
    }
    report["ablation"] = ablation(network, sets)
    report["curves"] = curves(network, *digits)
    _print(report)
    _draw(report["curves"], options.docs)  # type: ignore[arg-type]
    _readings(network, digits[0], options.docs)
    print(json.dumps(report))
    return 0


def curves(
    network: DigitNet, images: NDArray[np.uint8], labels: NDArray[np.int64]
) -> dict[str, dict[str, list[float]]]:
    """Accuracy over the pen's width and over the angle that a digit is turned by."""
    widths, angles = [-7, -5, -3, 0, 4, 8, 12, 16, 20, 26], list(range(-45, 46, 9))
    return {
        "pen, in pixels wider than MNIST's on a digit of 200": {
            "x": [float(width) for width in widths],
            "accuracy": [accuracy(network, [_penned(image, width) for image in images], labels) for width in widths],
        },
        "turned, in degrees": {
            "x": [float(angle) for angle in angles],
            "accuracy": [accuracy(network, [_turned(image, angle) for image in images], labels) for angle in angles],
        },
    }


def _penned(image: NDArray[np.uint8], change: int) -> bytes:
    ink = presentations.strokes(image, 200)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (abs(change) + 1,) * 2)
    ink = cv2.dilate(ink, kernel) if change > 0 else cv2.erode(ink, kernel)
    return presentations.file(presentations.painted(cv2.copyMakeBorder(ink, 40, 40, 40, 40, cv2.BORDER_CONSTANT)))


def _turned(image: NDArray[np.uint8], angle: float) -> bytes:
    ink = cv2.copyMakeBorder(presentations.strokes(image, 200), 50, 50, 50, 50, cv2.BORDER_CONSTANT)
    turn = cv2.getRotationMatrix2D((150, 150), angle, 1)
    return presentations.file(presentations.painted(cv2.warpAffine(ink, turn, ink.shape[::-1])))


def _bmp(image: NDArray[np.uint8], dice: np.random.Generator) -> bytes:
    return presentations.file(image, "BMP")


def _presented(
    images: NDArray[np.uint8], labels: NDArray[np.int64], kinds: Mapping[str, presentations.Kind] = presentations.KINDS
) -> dict[str, Set]:
    made = {}
    for name, make in kinds.items():
        dice = np.random.default_rng(SEED)
        made[name] = ([make(image, dice) for image in images], labels)
    return made


def _damaged(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, Set]:
    kinds = {name: lambda image, dice, make=make: _bmp(make(image, dice), dice) for name, make in damage.KINDS.items()}
    return _presented(images, labels, kinds)


def _folder(folder: Path) -> Set:
    found = list(samples.pictures(folder))
    return [sample.content for sample in found], np.array([sample.label for sample in found])


def _joined(sets: Mapping[str, Set]) -> Set:
    return [c for contents, _ in sets.values() for c in contents], np.concatenate(
        [labels for _, labels in sets.values()]
    )


def _print(report: Mapping[str, object]) -> None:
    ablated: Mapping[str, Mapping[str, float]] = report["ablation"]  # type: ignore[assignment]
    names = list(ablated["everything"])
    print("| step | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
    for step, row in ablated.items():
        print(f"| {step} | " + " | ".join(f"{row[name]:.2f}" for name in names) + " |")
    for part, heading in (("presentations", "accuracy, %"), ("damage", "error, %")):
        values: Mapping[str, float] = report[part]  # type: ignore[assignment]
        print(f"\n| {part} | {heading} |\n|---|---:|")
        for name, value in values.items():
            print(f"| {name.replace('_', ' ')} | {value:.1f} |")
        print(f"| mean | {np.mean(list(values.values())):.2f} |")


def _draw(measured: Mapping[str, Mapping[str, Sequence[float]]], docs: Path) -> None:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, (name, curve) in zip(figure.subplots(1, len(measured)), measured.items(), strict=True):
        axes.plot(curve["x"], curve["accuracy"], marker="o")
        axes.set(xlabel=name, ylabel="accuracy, %")
        axes.grid(alpha=0.3)
    docs.mkdir(exist_ok=True)
    figure.savefig(docs / "curves.png", dpi=100)


def _readings(network: DigitNet, images: NDArray[np.uint8], docs: Path) -> None:
    """Ten pictures: as sent, as seen, as read."""
    kinds = [
        "sketchpad",
        "blackboard",
        "fine_pen",
        "thick_pen",
        "coloured",
        "lamp",
        "shadow",
        "squared",
        "specks",
        "lost",
    ]
    figure = Figure(figsize=(12, 3.1), layout="constrained")
    rows = figure.subplots(2, len(kinds))
    for place, kind in enumerate(kinds):
        dice = np.random.default_rng(place)
        content = presentations.KINDS[kind](images[[3, 2, 1, 18, 4, 15, 11, 0, 61, 7][place]], dice)
        seen = normalize.from_bytes(content)
        with torch.inference_mode():
            shares = network(torch.from_numpy(seen)[None, None])[0].softmax(0)
        rows[0, place].imshow(np.asarray(Image.open(io.BytesIO(content))))
        rows[1, place].imshow(seen, cmap="gray")
        rows[1, place].set_xlabel(f"{int(shares.argmax())}   {100 * float(shares.max()):.1f} %", fontsize=11)
        for axes in rows[:, place]:
            axes.set(xticks=[], yticks=[])
    rows[0, 0].set_ylabel("sent")
    rows[1, 0].set_ylabel("seen")
    figure.savefig(docs / "readings.png", dpi=90)


if __name__ == "__main__":
    sys.exit(main())
