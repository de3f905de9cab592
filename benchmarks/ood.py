"""Measure how well digits are separated from outliers, on kinds of images that the head was not trained on.

    .venv/bin/python -m benchmarks.ood
    .venv/bin/python -m benchmarks.ood --drawn DIR     # and on hand-drawn digits, a folder of labelled pictures
    .venv/bin/python -m benchmarks.ood --baselines     # compared with other methods

The digits are MNIST's test set and the pictures of --drawn. The fonts and Fashion-MNIST come from Debian's packages; a
kind is left out if its package is not installed. Images that preprocessing refuses count as rejected. Prints tables
and, last, one line of JSON.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from benchmarks import unseen_outliers
from benchmarks.common import conditions, make_parser, map_batches
from benchmarks.ood_baselines import DEFAULT, Score, baseline_scores, head_score
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.datasets import samples
from mnist_lightning.datasets.mnist import MnistUnavailableError
from mnist_lightning.datasets.ood import OODDataset
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.models import archive
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.errors import BadPictureError, NoDigitError
from mnist_lightning.preprocessing.normalize import from_bytes, normalize
from mnist_lightning.training.ood import FALSE_REJECTION_RATE

FASHION = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
Scores = NDArray[np.float64]
Report = dict[str, Any]
GROUPS = {
    "letters": ["letters by hand"],
    "look-alikes": ["look-alikes by hand"],
    "other signs": ["Japanese by pen", "pictograms, faces"],
    "scribbles": ["wandering line", "spiral", "Lissajous figure", "loops", "hatching"],
    "noise, blank": ["Gaussian noise", "uniform noise", "pink noise", "rows", "blank"],
    "of digits": ["several digits, test set", "turned digit, test set", "crossed out, test set"],
    "Fashion-MNIST": ["Fashion-MNIST"],
}


@dataclass(frozen=True)
class Outliers:
    """The images of one kind."""

    images: torch.Tensor  # (N, 1, 28, 28), preprocessed
    refused: int  # number of further images, which preprocessing refused


def main() -> int:
    """Measure, and print."""
    options = _parse()
    try:
        network = archive.load_network(options.store / ARCHIVE)
        drawn = _load_drawn(options.drawn) if options.drawn else {}
        splits = MnistSplits.load(options.data)
    except (archive.ArchiveError, samples.SampleError, MnistUnavailableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    digits = {"MNIST's test set": splits.test[0].float() / 255, **drawn}
    outliers = dict(_unseen_outliers(splits, options.each))
    validation = OODDataset.build(splits, 1).held_out_digits.float() / 255
    scores = baseline_scores(network, splits) if options.baselines else {DEFAULT: head_score(network)}
    report = {name: measure(score, validation, digits, outliers) for name, score in scores.items()}
    _print(report[DEFAULT])
    if options.baselines:
        _print_comparison(report)
    print(json.dumps(report))
    return 0


def _parse() -> argparse.Namespace:
    parser = make_parser(__doc__, "store", "data")
    parser.add_argument("--drawn", type=Path, metavar="DIR", help="folder of labelled pictures of hand-drawn digits")
    parser.add_argument("--each", type=int, default=1000, help="number of images of each kind (%(default)s)")
    parser.add_argument("--baselines", action="store_true", help="also measure other methods")
    parser.add_argument("--tried", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    print(conditions() + "\n")
    if options.tried:
        print("warning: --tried is now --baselines", file=sys.stderr)
    options.baselines |= options.tried
    return options


def measure(
    score: Score, validation: torch.Tensor, digits: Mapping[str, torch.Tensor], outliers: Mapping[str, Outliers]
) -> Report:
    """Rejection rates of all digits and outliers, and the areas under the ROC curve of digits against outliers.

    The threshold rejects FALSE_REJECTION_RATE of the validation digits. `auroc` takes the hand-drawn digits if there
    are any; `auroc_mnist` takes the first of `digits`, MNIST's test set.
    """
    threshold = float(np.quantile(_compute_scores(score, validation), FALSE_REJECTION_RATE))
    digit_scores = {name: _compute_scores(score, images) for name, images in digits.items()}
    test, *drawn = digit_scores.values()
    if drawn:
        digit_scores["all drawn digits"] = np.concatenate(drawn)
    references = {"auroc": np.concatenate(drawn) if drawn else test, "auroc_mnist": test}
    kinds = {}
    for name, kind in outliers.items():
        kind_scores = np.concatenate([_compute_scores(score, kind.images), np.full(kind.refused, -np.inf)])
        kinds[name] = {
            **{key: _auroc(reference, kind_scores) for key, reference in references.items()},
            "rejected": float((kind_scores < threshold).mean()),
            "rejected_by_preprocessing": kind.refused / len(kind_scores),
        }
    rejected = {name: float((scores < threshold).mean()) for name, scores in digit_scores.items()}
    return {"digits": rejected, "outliers": kinds}


def _compute_scores(score: Score, images: torch.Tensor) -> Scores:
    return map_batches(score, images).double().numpy() if len(images) else np.zeros(0)


def _auroc(digits: Scores, outliers: Scores) -> float:
    truth = np.repeat([1, 0], [len(digits), len(outliers)])
    return float(roc_auc_score(truth, np.maximum(np.concatenate([digits, outliers]), -1e30)))  # no infinite scores


def _print(report: Report) -> None:
    console = Console(width=110)
    table = Table(
        "digits", "rejected", title=f"threshold: rejects {100 * FALSE_REJECTION_RATE:g} % of validation digits"
    )
    for name, rejected in report["digits"].items():
        table.add_row(name, f"{100 * rejected:.2f} %")
    console.print(table)
    table = Table("outliers", "AUROC", "AUROC, MNIST's test set", "rejected", "by preprocessing")
    for name, kind in report["outliers"].items():
        areas = [f"{kind[key]:.4f}" for key in ("auroc", "auroc_mnist")]
        table.add_row(name, *areas, *(f"{100 * kind[key]:.1f} %" for key in ("rejected", "rejected_by_preprocessing")))
    console.print(table)


def _print_comparison(report: Mapping[str, Report]) -> None:
    """A row for each method: digits rejected, then for each group of kinds its smallest AUROC and mean rejection."""
    table = Table("method", "digits rejected", *GROUPS, title="smallest AUROC, mean rejected")
    for method, measured in report.items():
        cells = []
        for names in GROUPS.values():
            kinds = [measured["outliers"][name] for name in names if name in measured["outliers"]]
            if not kinds:
                cells.append("–")
                continue
            low, mean = min(kind["auroc"] for kind in kinds), np.mean([kind["rejected"] for kind in kinds])
            cells.append(f"{low:.3f}, {100 * mean:.0f} %")
        table.add_row(method, f"{100 * list(measured['digits'].values())[-1]:.2f} %", *cells)
    Console(width=150).print(table)


def _load_drawn(folder: Path) -> dict[str, torch.Tensor]:
    """The pictures of a folder by sub-folder, preprocessed. Raises SampleError."""
    images: dict[str, list[NDArray[np.float32]]] = {}
    for sample in samples.load_folder(folder):
        try:
            name = sample.group if sample.group != "." else folder.name
            images.setdefault(f"drawn: {name}", []).append(from_bytes(sample.content))
        except BadPictureError as error:
            print(f"left out: {sample.name}: {error}", file=sys.stderr)
    return {name: torch.from_numpy(np.stack(parts))[:, None] for name, parts in images.items()}


def _unseen_outliers(splits: MnistSplits, n_per_kind: int) -> Iterator[tuple[str, Outliers]]:
    images, labels = splits.test
    kinds = unseen_outliers.unseen_kinds()
    kinds |= unseen_outliers.altered_test_digits(images[:, 0].numpy(), labels.numpy())
    for name, draw in kinds.items():
        rng = np.random.default_rng([7, *name.encode()])
        yield name, _preprocess(draw(rng) for _ in range(n_per_kind))
    if not FASHION.is_file():
        print("left out: Fashion-MNIST (Debian: apt-get install dataset-fashion-mnist)", file=sys.stderr)
        return
    clothes = np.frombuffer(gzip.decompress(FASHION.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
    yield "Fashion-MNIST", _preprocess(clothes[:n_per_kind].copy())


def _preprocess(images: Iterable[Bytes]) -> Outliers:
    preprocessed, refused = [], 0
    for image in images:
        try:
            preprocessed.append(normalize(image))
        except NoDigitError:
            refused += 1
    stacked = np.stack(preprocessed) if preprocessed else np.zeros((0, 28, 28), np.float32)
    return Outliers(torch.from_numpy(stacked)[:, None], refused)


if __name__ == "__main__":
    sys.exit(main())
