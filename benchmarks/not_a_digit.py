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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from benchmarks import strangers
from mnist_lightning import archive, outliers, rejection
from mnist_lightning.datamodule import MnistDataModule
from mnist_lightning.network import DigitNet
from mnist_lightning.pictures import NoDigitError
from mnist_lightning.preprocessing import BadPictureError, from_bytes, normalise
from mnist_lightning.samples import pictures

FASHION = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
REFUSED = -np.inf  # what preprocessing refuses, beside any score
Scores = NDArray[np.float64]
Score = Callable[[torch.Tensor], torch.Tensor]  # (B, 1, 28, 28) pictures -> (B,), high for digits
# Other judges of the same network: rejection.py with these in place of its own.
TRIED: Mapping[str, Mapping[str, object]] = {
    "learnt alone, no energy": {"rejection.SPREAD": 0.0},
    "half the energy": {"rejection.SPREAD": 1.75},
    "twice the energy": {"rejection.SPREAD": 7.0},
    "64 units, 6 passes": {"rejection.HIDDEN": 64, "rejection.PASSES": 6},
    "damaged digits count as digits": {"rejection.HANDS": rejection.Augmentation()},
    "no digits of other hands": {"rejection.HANDS": rejection.Augmentation(0, 0, 0, 0)},
    "letters and signs only": {
        "outliers.DRAWN": {name: outliers.DRAWN[name] for name in ("letter", "word", "sign", "other script")},
        "outliers.of_digits": lambda *_: {},
    },
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="where mnist.mar is (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data/MNIST/raw"), help="MNIST's folder (%(default)s)")
    parser.add_argument("--drawn", type=Path, metavar="DIR", help="digits drawn by people, in sub-folders or not")
    parser.add_argument("--each", type=int, default=1000, help="pictures of each kind (%(default)s)")
    parser.add_argument("--tried", action="store_true", help="also other ways of telling")
    options = parser.parse_args()
    try:
        network = archive.network(options.store / "mnist.mar")
    except archive.ArchiveError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    data = MnistDataModule(options.data)
    data.prepare_data()
    data.setup()
    digits = {"MNIST, test set": data.test[0].float() / 255, **_drawn(options.drawn)}
    others = dict(_others(data, options.each))
    ways = {"the archive's own": _judged(network), **(_others_ways(network, data) if options.tried else {})}
    told = {name: _measured(score, _mixed(data, score), digits, others) for name, score in ways.items()}
    own = _measured(ways["the archive's own"], network.threshold, digits, others, log_odds=True)
    _print(own, "the archive's own judge and threshold")
    if options.tried:
        _compare(told)
    print(json.dumps({"own": own, "at 1 % of the validation digits": told}))
    return 0


def _judged(network: DigitNet) -> Score:
    return lambda images: network.judged(images)[1]


def _others_ways(network: DigitNet, data: MnistDataModule) -> Iterator[tuple[str, Score]] | dict[str, Score]:
    ways: dict[str, Score] = {
        "largest softmax": lambda images: network(images).softmax(dim=1).amax(dim=1),
        "energy": lambda images: network(images).logsumexp(dim=1),
        "distance to the digits' means": _distance(network, data),
    }
    for name, instead in TRIED.items():
        with ExitStack() as stack:
            for target, value in instead.items():
                stack.enter_context(patch(f"mnist_lightning.{target}", value))
            made = DigitNet.of(network.state_dict())
            made.judge = rejection.fit(made, rejection.lessons(data, 800), 0)
        ways[name] = _judged(made)
    return ways


@torch.inference_mode()
def _distance(network: DigitNet, data: MnistDataModule, count: int = 20_000) -> Score:
    """Mahalanobis' distance to the nearest of the ten means of the last features, all with one covariance."""
    images, labels = data.training[0][:count].float() / 255, data.training[1][:count]
    features = torch.cat([network.penultimate(part) for part in torch.split(images, 500)])
    means = torch.stack([features[labels == digit].mean(dim=0) for digit in range(10)])
    rest = features - means[labels]
    spread = rest.T @ rest / len(rest)
    inverse = torch.linalg.inv(spread + 1e-3 * spread.diagonal().mean() * torch.eye(len(spread)))

    def score(images: torch.Tensor) -> torch.Tensor:
        away = network.penultimate(images)[:, None] - means
        return -torch.einsum("bdf,fg,bdg->bd", away, inverse, away).amin(dim=1)

    return score


def _drawn(folder: Path | None) -> Iterator[tuple[str, torch.Tensor]] | dict[str, torch.Tensor]:
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


def _mixed(data: MnistDataModule, score: Score) -> float:
    """The score that 1 % of the validation digits stay below, as they are and as others would draw them."""
    with patch.object(rejection.outliers, "DRAWN", {}), patch.object(rejection.outliers, "of_digits", lambda *_: {}):
        raise NotImplementedError


@torch.inference_mode()
def _scores(score: Score, images: torch.Tensor) -> Scores:
    parts = [score(part).double().numpy() for part in torch.split(images, 500)]
    return np.concatenate(parts) if parts else np.zeros(0)
