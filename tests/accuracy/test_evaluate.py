"""The verb `evaluate` on MNIST's whole test set."""

import json
from pathlib import Path

import pytest

from mnist_lightning import evaluate
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.datasets import mnist
from mnist_lightning.models.archive import load_network
from mnist_lightning.models.digitnet import predict_logits


def test_the_test_set(
    small_store: Path, mnist_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of MNIST's 10,000 test digits, as picture files, give the accuracy of the images themselves."""
    images, labels = mnist.load(mnist_folder, train=False)
    logits = predict_logits(load_network(small_store / ARCHIVE), images)
    flags = ["--store", str(small_store), "--data", str(mnist_folder), "--out", str(tmp_path)]
    assert evaluate.main(["test", *flags, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pictures"] == 10_000
    assert report["accuracy"] == pytest.approx((logits.argmax(dim=1) == labels).double().mean().item(), abs=5e-4)
