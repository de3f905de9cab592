"""Measure how numbers are read: by the line reader, and by over-segmentation for comparison.

    .venv/bin/python -m benchmarks.numbers --store pretrained --folder FOLDER   # both readers, on test digits
    .venv/bin/python -m benchmarks.numbers --store pretrained --validation      # both readers, on validation digits
    .venv/bin/python -m benchmarks.numbers --store pretrained --calibration     # the numbers' confidence
    .venv/bin/python -m benchmarks.numbers --store pretrained --tune            # the weights of over-segmentation
    .venv/bin/python -m benchmarks.numbers --store pretrained --time            # milliseconds on one core

Prints Markdown tables and, last, one line of JSON. Constants are chosen with `--validation` or `--tune` alone.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch

from benchmarks import number_pictures, oversegmentation
from benchmarks.common import conditions, make_parser, median_seconds
from benchmarks.number_pictures import APART, COLUMNS, LINES, TOUCHING, Digits, Draw
from benchmarks.oversegmentation import Lattice, Weights
from mnist_lightning.client import number_of
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.datasets import samples
from mnist_lightning.datasets.numbers import Glyphs
from mnist_lightning.datasets.page_steps import KINDS
from mnist_lightning.datasets.samples import Sample
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.evaluation.classify import Outcome, Unanswered, answer_images
from mnist_lightning.evaluation.numbers import HIGH_CONFIDENCE, NumberReport, NumberResults, make_report
from mnist_lightning.evaluation.presentations import PRESENTATIONS
from mnist_lightning.models.archive import load_network
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing import normalize
from mnist_lightning.preprocessing.decode import Bytes, decode, decode_with_scale
from mnist_lightning.preprocessing.errors import BadPictureError
from mnist_lightning.preprocessing.lines import find_lines
from mnist_lightning.preprocessing.normalize import normalize_with_count, read_picture

LINE_READER = "line reader"
READERS: Mapping[str, Callable[[DigitNet], AbstractContextManager[object]]] = {  # in which pictures are read
    LINE_READER: lambda network: nullcontext(),
    "over-segmentation": lambda network: patch.object(
        normalize, "read_number", oversegmentation.number_reader(network)
    ),
}
ROWS: Mapping[str, Draw] = {
    "side by side, apart": number_pictures.side_by_side(*APART),
    "side by side, touching": number_pictures.side_by_side(*TOUCHING),
}
FACTORS = (0.0, 0.5, 2.0)  # by which each of the weights is changed
MEGAPIXELS_12 = (4000, 3000)
SQUARE = 0.03  # side of the squares on paper, in widths of the picture
TIMED = 5  # pictures of each kind


def main() -> int:
    """Measure, and print."""
    parser = make_parser(__doc__, "store", "data", "repeats")
    parser.add_argument("--folder", type=Path, nargs="*", default=[], help="folders of labelled numbers")
    parser.add_argument("--numbers", type=int, default=1000, help="composed numbers of each kind (%(default)s)")
    parser.add_argument("--photographs", type=int, default=200, help="of each kind of paper (%(default)s)")
    parser.add_argument("--sheets", type=int, default=100, help="of several lines (%(default)s)")
    parser.add_argument("--validation", action="store_true", help="validation digits instead of test digits")
    what = parser.add_mutually_exclusive_group()
    for name in MEASUREMENTS:
        what.add_argument(f"--{name}", dest="measure", action="store_const", const=name, help=f"measure the {name}")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(conditions() + "\n")
    measure = MEASUREMENTS.get(options.measure, compare)
    print("\n" + json.dumps(measure(load_network(options.store / ARCHIVE), MnistSplits.load(options.data), options)))
    return 0


def compare(network: DigitNet, splits: MnistSplits, options: argparse.Namespace) -> dict[str, Any]:
    """How both readers read each kind of picture."""
    digits = Digits.of(*(splits.validation if options.validation else splits.test))
    columns = [f"{what}, {reader}" for what in ("exact, %", "digit errors, %", "ms") for reader in READERS]
    _print_row("pictures", "count", *columns)
    print("|---|" + "---:|" * (1 + len(columns)))
    report: dict[str, Any] = {}
    for name, pictures in _groups(digits, options):
        made = {reader: read_all(pictures, network, reader) for reader in READERS}
        totals = [one.total for one, _ in made.values()]
        values = [f"{100 * total.exact_match_rate:.1f}" for total in totals]
        values += [f"{100 * total.digit_error_rate:.2f}" for total in totals]
        _print_row(name, len(pictures), *values, *(f"{milliseconds:.1f}" for _, milliseconds in made.values()))
        report[name] = {reader: dataclasses.asdict(one) | {"ms": ms} for reader, (one, ms) in made.items()}
    return report


def _groups(digits: Digits, options: argparse.Namespace) -> Iterator[tuple[str, list[Sample[str]]]]:
    """The pictures by name."""
    for folder in options.folder:
        yield f"folder {folder.name}", list(samples.load_numbers(folder))
    drawn = [(name, draw, options.numbers) for name, draw in ROWS.items()]
    drawn += [(f"on {kind} paper", number_pictures.photographed(kind), options.photographs) for kind in KINDS]
    drawn += [(f"sheets of {LINES} lines of {COLUMNS}", number_pictures.sheet(), options.sheets)]
    for name, draw, count in drawn:
        if count:
            yield name, list(number_pictures.samples(name, draw, digits, count))


def read_all(pictures: Sequence[Sample[str]], network: DigitNet, reader: str) -> tuple[NumberReport, float]:
    """How well one of the READERS reads, and its median milliseconds for a picture, decoding included."""
    outcomes, seconds = [], []
    with READERS[reader](network):
        for picture in pictures:
            started = time.perf_counter()
            outcomes.append(answer(picture.content, network))
            seconds.append(time.perf_counter() - started)
    return make_report(NumberResults(pictures, outcomes)), 1000 * float(np.median(seconds))


def answer(content: bytes, network: DigitNet) -> Outcome:
    """The server's answer to a picture file."""
    try:
        (one,) = answer_images(network, [read_picture(content)])
    except BadPictureError as error:
        return Unanswered(str(error))
    return one


def measure_calibration(network: DigitNet, splits: MnistSplits, options: argparse.Namespace) -> dict[str, Any]:
    """How much the confidence of the line reader's numbers says."""
    _print_row("digits", "numbers", "count", "exact, %", "calibration error, %", "confident", "of these right, %")
    print("|---|---|" + "---:|" * 5)
    report: dict[str, Any] = {}
    for split, part in (("validation", splits.validation), ("test", splits.test)):
        draws = {**ROWS, "by one hand": number_pictures.by_one_hand(Glyphs.build(*part, seed=1))}
        for name, draw in draws.items():
            pictures = list(number_pictures.samples(name, draw, Digits.of(*part), options.numbers))
            made, _ = read_all(pictures, network, LINE_READER)
            fractions = made.total.exact_match_rate, made.calibration_error, made.confident_exact_match_rate
            exact, error, right = ("" if value is None else f"{100 * value:.2f}" for value in fractions)
            _print_row(split, name, len(pictures), exact, error, made.confident, right)
            report[f"{split}, {name}"] = dataclasses.asdict(made)
    print(f"\nconfident: at least {HIGH_CONFIDENCE}")
    return report


def tune(network: DigitNet, splits: MnistSplits, options: argparse.Namespace) -> dict[str, Any]:
    """How over-segmentation reads validation digits with other weights, each changed by itself."""
    digits, found = Digits.of(*splits.validation), dict[str, list[tuple[str, list[Lattice]]]]()
    for name, draw in ROWS.items():
        pictures = number_pictures.samples(name, draw, digits, options.numbers)
        found[name] = [(picture.label, _lattices(picture.content, network)) for picture in pictures]
    _print_row("weights", *(f"{name}: exact, %" for name in ROWS))
    print("|---|" + "---:|" * len(ROWS))
    variants = {"chosen": oversegmentation.WEIGHTS}
    for field, value in dataclasses.asdict(oversegmentation.WEIGHTS).items():
        variants |= {
            f"{field} {factor * value:g}": dataclasses.replace(oversegmentation.WEIGHTS, **{field: factor * value})
            for factor in FACTORS
        }
    report = {}
    for variant, weights in variants.items():
        rates = [100 * _exact(lattices, weights) for lattices in found.values()]
        _print_row(variant, *(f"{rate:.1f}" for rate in rates))
        report[variant] = rates
    return report


def _lattices(content: bytes, network: DigitNet) -> list[Lattice]:
    """The lattices of the lines in a picture."""
    strips = list[Bytes]()

    def keep(ink: Bytes, *_: object, **__: object) -> None:
        strips.extend(line.fine for line in find_lines(ink))

    with patch.object(normalize, "read_number", keep):
        read_picture(content)
    return oversegmentation.make_lattices(strips, network)


def _exact(pictures: Sequence[tuple[str, list[Lattice]]], weights: Weights) -> float:
    texts = ["\n".join(oversegmentation.text_of(lattice, weights) for lattice in lattices) for _, lattices in pictures]
    return float(np.mean([text == label for text, (label, _) in zip(texts, pictures, strict=True)]))


def measure_time(network: DigitNet, splits: MnistSplits, options: argparse.Namespace) -> dict[str, Any]:
    """Median milliseconds of normalization, numbers read, after decoding, and what reading numbers adds to digits."""
    digits = Digits.of(*(splits.validation if options.validation else splits.test))
    report: dict[str, Any] = {"median_ms": {}, "added_ms": {}}
    _print_row("picture", "median ms", "read right")
    print("|---|---:|---:|")
    for name, draw in _timed_pictures(options).items():
        pictures = list(number_pictures.samples(name, draw, digits, TIMED))
        pixels = [decode_with_scale(picture.content).pixels for picture in pictures]
        medians = [1000 * median_seconds(partial(_normalize, array), options.repeats) for array in pixels]
        answers = [answer(picture.content, network) for picture in pictures]
        right = sum(_text(one) == picture.label for one, picture in zip(answers, pictures, strict=True))
        report["median_ms"][name] = float(np.median(medians))
        _print_row(name, f"{np.median(medians):.2f}", f"{right} of {TIMED}")
    print()
    _print_row("single digits", "count", "mean ms", "without reading numbers", "taken for numbers")
    print("|---|" + "---:|" * 4)
    for name, present in {"canvas": _canvas(options), "all presentations": _presented}.items():
        pictures = list(number_pictures.samples(name, present, digits, options.numbers))
        added = _added_time(pictures)
        report["added_ms"][name] = added
        _print_row(name, len(pictures), *(f"{added[key]:.3f}" for key in ("with", "without")), int(added["numbers"]))
    return report


def _normalize(pixels: Bytes) -> None:
    with suppress(BadPictureError):
        normalize_with_count(pixels)


def _text(outcome: Outcome) -> str:
    return "" if isinstance(outcome, Unanswered) else number_of(outcome)


def _timed_pictures(options: argparse.Namespace) -> dict[str, Draw]:
    small, squared = (420, 280), round(SQUARE * MEGAPIXELS_12[0])
    return {
        "digit, canvas": _canvas(options),
        "digit, squared paper": _in_presentation("skewed_squares"),
        "4 digits, 420×280": number_pictures.drawn(4, *small),
        "8 digits, 420×280": number_pictures.drawn(8, *small),
        "8 digits, 12 megapixels, squared paper": number_pictures.drawn(8, *MEGAPIXELS_12, squares=squared),
        "8 digits, 12 megapixels, plain paper": number_pictures.drawn(8, *MEGAPIXELS_12),
        "sheet of 8 lines of 8": number_pictures.sheet(8, 8),
    }


def _canvas(options: argparse.Namespace) -> Draw:
    """Single digits as `evaluate` presents them: one after the other of MNIST's test digits."""
    presented = iter(samples.presented_digits(options.data, ["canvas"], max(options.numbers, TIMED)))

    def draw(_: Digits, __: np.random.Generator) -> tuple[str, bytes]:
        sample = next(presented)
        return str(sample.label), sample.content

    return draw


def _in_presentation(name: str) -> Draw:
    def draw(digits: Digits, rng: np.random.Generator) -> tuple[str, bytes]:
        (image,), label = digits.choose(1, rng)
        return label, PRESENTATIONS[name](image, rng)

    return draw


def _presented(digits: Digits, rng: np.random.Generator) -> tuple[str, bytes]:
    """A single digit in any of the PRESENTATIONS."""
    return _in_presentation(str(rng.choice(list(PRESENTATIONS))))(digits, rng)


def _added_time(pictures: Sequence[Sample[str]]) -> dict[str, float]:
    """Mean milliseconds of normalization with and without reading numbers; how many pictures are taken for one."""
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    numbers = 0
    never = {"with": normalize.MIN_NUMBER_SIDE, "without": sys.maxsize}
    for picture in pictures:
        pixels = decode(picture.content)
        for key, side in never.items():
            with patch.object(normalize, "MIN_NUMBER_SIDE", side):
                seconds[key].append(median_seconds(partial(_normalize, pixels), repeats=3))
        with suppress(BadPictureError):
            numbers += normalize_with_count(pixels).number is not None
    return {key: 1000 * float(np.mean(values)) for key, values in seconds.items()} | {"numbers": numbers}


def _print_row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


MEASUREMENTS = {"calibration": measure_calibration, "tune": tune, "time": measure_time}


if __name__ == "__main__":
    sys.exit(main())
