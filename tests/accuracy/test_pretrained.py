"""The archive that ships with the project: what its description says, and how it reads digits as people write them."""

import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.traits import TRAITS, add_strokes
from mnist_lightning.datasets import mnist
from mnist_lightning.evaluation import presentations
from mnist_lightning.evaluation.classify import answer_images
from mnist_lightning.models.archive import load_network
from mnist_lightning.models.digitnet import DigitNet, predict_logits
from mnist_lightning.preprocessing.decode import decode
from mnist_lightning.preprocessing.normalize import normalize_with_count
from tests.support import PROJECT

FOLDER = PROJECT / "pretrained"
ARCHIVE = FOLDER / "mnist.mar"
DESCRIPTION = json.loads((FOLDER / "mnist.json").read_text())
MAX_BYTES = 1_500_000
# Percentages of MNIST's first 2,000 test digits; of those with a trait, a few become another digit by it.
MIN_ACCURACY = {"4, closed at the top": 88, "7, with a bar, a serif or both": 91, "1, up-stroke, foot or both": 95}
DEFAULT_MIN_ACCURACY = 97


@pytest.fixture(scope="module")
def network() -> DigitNet:
    return load_network(ARCHIVE)


@pytest.fixture(scope="module")
def test_set(mnist_folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    return mnist.load(mnist_folder, train=False)


def test_it_is_small_and_described() -> None:
    assert ARCHIVE.stat().st_size < MAX_BYTES
    digest, name = (FOLDER / "mnist.mar.sha256").read_text().split()
    assert (digest, name) == (hashlib.sha256(ARCHIVE.read_bytes()).hexdigest(), "mnist.mar")
    assert {"optimizer", "seed", "run_id", "git_commit", "versions", "final_test_accuracy"} <= DESCRIPTION.keys()
    card = (FOLDER / "README.md").read_text()
    for value in (DESCRIPTION["git_commit"][:7], DESCRIPTION["optimizer"]):
        assert value in card


def test_it_names_no_machine() -> None:
    """Nor do the stack traces that torch.onnx.export writes into its files."""
    places = (b"/home/", b"/root/", b'File "/', os.fsencode(PROJECT))
    with zipfile.ZipFile(ARCHIVE) as archive:
        for name in archive.namelist():
            assert not any(place in archive.read(name) for place in places), name


def test_its_accuracy_is_the_one_that_is_described(
    network: DigitNet, test_set: tuple[torch.Tensor, torch.Tensor]
) -> None:
    images, labels = test_set
    accuracy = (predict_logits(network, images).argmax(dim=1) == labels).double().mean().item()
    assert accuracy == pytest.approx(DESCRIPTION["final_test_accuracy"], abs=3e-4)
    assert accuracy > 0.994


@pytest.mark.parametrize("trait", TRAITS)
def test_digits_are_read_as_europeans_write_them(
    trait: str, network: DigitNet, test_set: tuple[torch.Tensor, torch.Tensor]
) -> None:
    digit, draw = TRAITS[trait]
    images = test_set[0][:2000][test_set[1][:2000] == digit].float() / 255
    with torch.inference_mode():
        accuracy = 100 * (network(add_strokes(images, draw)).argmax(1) == digit).double().mean().item()
    assert accuracy >= MIN_ACCURACY.get(trait, DEFAULT_MIN_ACCURACY)


@pytest.mark.parametrize("kind", ["skewed_squares", "ruled", "underlined", "boxed", "circled", "turned_far"])
def test_digits_on_paper_are_read(kind: str, network: DigitNet, test_set: tuple[torch.Tensor, torch.Tensor]) -> None:
    rng = np.random.default_rng(1)
    digits, labels = test_set[0][:100, 0].numpy(), test_set[1][:100].tolist()
    pictures = [decode(presentations.PRESENTATIONS[kind](digit, rng)) for digit in digits]
    answers = answer_images(network, [normalize_with_count(picture) for picture in pictures])
    right = [answer["prediction"] == label for answer, label in zip(answers, labels, strict=True)]
    assert sum(right) >= (92 if kind == "turned_far" else 97)
