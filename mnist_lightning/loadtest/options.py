"""Command-line options, pictures and conditions that every load test shares."""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_lightning.common import machine
from mnist_lightning.common.arguments import positive_int
from mnist_lightning.datasets import samples
from mnist_lightning.loadtest import generators

DIGITS_PER_KIND = 40
Picture = tuple[str, bytes]  # kind, content of the file


def load_parser() -> argparse.ArgumentParser:
    """Return a parent parser with the options of a load test."""
    parser = argparse.ArgumentParser(add_help=False)
    counts: dict[str, Any] = {"type": positive_int, "metavar": "N"}
    parser.add_argument(
        "--connections", nargs="+", default=[1, 8, 32, 64], **counts, help="one load for each number (1 8 32 64)"
    )
    parser.add_argument("--seconds", default=10, **counts, help="duration of each load (%(default)s)")
    parser.add_argument("--warm-up", default=2, **counts, help="uncounted seconds before each load (%(default)s)")
    kinds = list(samples.PRESENTATIONS)
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds, help="kinds of MNIST pictures (all)")
    parser.add_argument("--data", type=Path, default=Path("data/MNIST/raw"), help="MNIST folder (%(default)s)")
    parser.add_argument("--picture", type=Path, nargs="+", metavar="FILE", help="post these files instead of MNIST")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also write the curves to this image file")
    return parser


def load_pictures(options: argparse.Namespace) -> list[Picture]:
    """Return the pictures to post. Raises MnistUnavailableError, or OSError for a file that cannot be read."""
    if options.picture:
        return [(path.suffix.removeprefix("."), path.read_bytes()) for path in options.picture]
    digits = samples.presented_digits(options.data, options.kinds, DIGITS_PER_KIND)
    return [(sample.group, sample.content) for sample in digits]


def conditions(options: argparse.Namespace, pictures: Sequence[Picture]) -> dict[str, object]:
    """Return what the results depend on besides the server."""
    return {
        "generator": generators.generator_name(),
        "processor": machine.processor(),
        "seconds": options.seconds,
        "warm_up": options.warm_up,
        "pictures": dict(Counter(kind for kind, _ in pictures)),
        "mean_bytes": round(sum(len(content) for _, content in pictures) / len(pictures)),
    }
