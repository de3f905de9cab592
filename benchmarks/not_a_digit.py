"""How well what is no digit is told from digits: on kinds of pictures that nobody trained on.

python -m benchmarks.not_a_digit
python -m benchmarks.not_a_digit --drawn DIR    # digits drawn by people, a folder of labelled pictures, or of such
python -m benchmarks.not_a_digit --tried        # and what other ways of telling would have done

The digits are MNIST's test set and those of --drawn. Fonts and Fashion-MNIST come from Debian's packages, and a kind
is left out where its package is not installed. What preprocessing refuses counts as told.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from benchmarks import strangers
from benchmarks.tellers import OWN, Score, all_ways, judged
from mnist_lightning.datasets.datamodule import MnistDataModule
from mnist_lightning.datasets.samples import SampleError, pictures
from mnist_lightning.models import archive
from mnist_lightning.preprocessing.decode import NoDigitError
from mnist_lightning.preprocessing.normalize import BadPictureError, from_bytes, normalise
from mnist_lightning.training import ood

FASHION = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
REFUSED = -np.inf  # what preprocessing refuses, beside any score
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


def main() -> int:
    """The command; its exit code."""
    options = _options()
    try:
        network = archive.load_network(options.store / "mnist.mar")
        drawn = _drawn(options.drawn)
    except (archive.ArchiveError, SampleError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    data = MnistDataModule(options.data)
    data.prepare_data()
    data.setup()
    digits = {"MNIST's test set": data.test[0].float() / 255, **drawn}
    others = dict(_others(data, options.each))
    validation = ood.lessons(data, 1).held_digits.float() / 255
    report = {}
    for name, score in (all_ways(network, data) if options.tried else {OWN: judged(network)}).items():
        threshold = float(np.quantile(_scores(score, validation), ood.REFUSED))
        report[name] = _measured(score, threshold, digits, others)
    _print(report[OWN])
    if options.tried:
        _compare(report)
    print(json.dumps(report))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="where mnist.mar is (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data/MNIST/raw"), help="MNIST's folder (%(default)s)")
    parser.add_argument("--drawn", type=Path, metavar="DIR", help="digits drawn by people, in sub-folders or not")
    parser.add_argument("--each", type=int, default=1000, help="pictures of each kind (%(default)s)")
    parser.add_argument("--tried", action="store_true", help="also other ways of telling")
    return parser.parse_args()


def _measured(
    score: Score, threshold: float, digits: Mapping[str, torch.Tensor], others: Mapping[str, tuple[torch.Tensor, int]]
) -> Report:
    """Part of the digits and of every other kind that is refused; areas under the curve, against all of a side."""
    real = {name: _scores(score, images) for name, images in digits.items()}
    test, *drawn = real.values()
    against = {"auroc": np.concatenate(drawn) if drawn else test, "auroc_mnist": test}
    kinds = {}
    for name, (images, refused) in others.items():
        strange = np.concatenate([_scores(score, images), np.full(refused, REFUSED)])
        areas = {key: _area(known, strange) for key, known in against.items()}
        kinds[name] = {
            **areas,
            "refused": float((strange < threshold).mean()),
            "refused_unseen": refused / len(strange),
        }
    everyone = {"all drawn digits": np.concatenate(drawn)} if drawn else {}
    return {
        "digits": {name: float((s < threshold).mean()) for name, s in {**real, **everyone}.items()},
        "others": kinds,
    }


def _area(known: Scores, strange: Scores) -> float:
    truth = np.repeat([1, 0], [len(known), len(strange)])
    return float(roc_auc_score(truth, np.maximum(np.concatenate([known, strange]), -1e30)))


def _print(report: Report) -> None:
    console = Console(width=110)
    table = Table("digits", "refused", title="what is told from digits, 1 % of the validation digits refused")
    for name, refused in report["digits"].items():
        table.add_row(name, f"{100 * refused:.2f} %")
    console.print(table)
    table = Table("others", "AUROC", "… against MNIST's test set", "refused", "… before the network")
    for name, found in report["others"].items():
        areas = [f"{found[key]:.4f}" for key in ("auroc", "auroc_mnist")]
        table.add_row(name, *areas, *(f"{100 * found[key]:.1f} %" for key in ("refused", "refused_unseen")))
    console.print(table)


def _compare(report: Mapping[str, Report]) -> None:
    """A row for each way of telling: digits refused, then by group of kinds the smallest area and the mean refused."""
    table = Table("way", "drawn digits refused", *GROUPS, title="smallest AUROC, mean refused")
    for way, found in report.items():
        cells = []
        for names in GROUPS.values():
            kinds = [found["others"][name] for name in names if name in found["others"]]
            low = min((kind["auroc"] for kind in kinds), default=float("nan"))
            cells.append(f"{low:.3f}, {100 * np.mean([kind['refused'] for kind in kinds]):.0f} %")
        table.add_row(way, f"{100 * list(found['digits'].values())[-1]:.2f} %", *cells)
    Console(width=150).print(table)


def _drawn(folder: Path | None) -> dict[str, torch.Tensor]:
    found: dict[str, list[NDArray[np.float32]]] = {}
    for sample in pictures(folder) if folder else ():
        try:
            name = sample.group if sample.group != "." else folder.name  # type: ignore[union-attr]
            found.setdefault(f"drawn: {name}", []).append(from_bytes(sample.content))
        except BadPictureError as error:
            print(f"left out: {sample.name}: {error}", file=sys.stderr)
    return {name: torch.from_numpy(np.stack(parts))[:, None] for name, parts in found.items()}


def _others(data: MnistDataModule, each: int) -> Iterator[tuple[str, tuple[torch.Tensor, int]]]:
    """Every kind's pictures as the network sees them, and how many more preprocessing refused."""
    kinds = {**strangers.kinds(), **strangers.of_test_digits(data.test[0][:, 0].numpy(), data.test[1].numpy())}
    for name, make in kinds.items():
        dice = np.random.default_rng([7, *name.encode()])
        yield name, _seen(make(dice) for _ in range(each))
    if not FASHION.is_file():
        print("left out: Fashion-MNIST (Debian: apt-get install dataset-fashion-mnist)", file=sys.stderr)
        return
    clothes = np.frombuffer(gzip.decompress(FASHION.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
    yield "Fashion-MNIST", _seen(iter(clothes[:each].copy()))


def _seen(sent: Iterator[NDArray[np.uint8]]) -> tuple[torch.Tensor, int]:
    found, refused = [], 0
    for picture in sent:
        try:
            found.append(normalise(picture))
        except NoDigitError:
            refused += 1
    return torch.from_numpy(np.stack(found) if found else np.zeros((0, 28, 28), np.float32))[:, None], refused


@torch.inference_mode()
def _scores(score: Score, images: torch.Tensor) -> Scores:
    parts = [score(part).double().numpy() for part in torch.split(images, 500)]
    return np.concatenate(parts) if parts else np.zeros(0)


if __name__ == "__main__":
    sys.exit(main())
