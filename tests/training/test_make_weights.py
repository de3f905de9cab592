"""The command that makes the weights of the tests, and the weights that it made."""

from pathlib import Path

import torch

from mnist_lightning.datasets import mnist
from mnist_lightning.models.digitnet import load, predict_logits
from tests import make_weights
from tests.support import WEIGHTS_FILE
from tests.training.conftest import Workplace


def test_the_command_makes_a_file_like_the_committed_one(workplace: Workplace) -> None:
    out = workplace.folder / "small.pt"
    flags = ("--epochs", "1", "--limit", "2000", "--outliers", "5", "--out", str(out))
    done = workplace.run(make_weights.main, *flags)
    assert done.code == 0, done.errors
    made, committed = (torch.load(path, weights_only=True) for path in (out, WEIGHTS_FILE))
    assert made["architecture"] == committed["architecture"]
    shapes = [{name: value.shape for name, value in file["state_dict"].items()} for file in (made, committed)]
    assert shapes[0] == shapes[1]
    assert load(out.read_bytes()).threshold > 0


def test_the_committed_weights_classify_mnist(mnist_folder: Path) -> None:
    images, labels = mnist.load(mnist_folder, train=False)
    logits = predict_logits(load(WEIGHTS_FILE.read_bytes()), images)
    assert (logits.argmax(dim=1) == labels).double().mean().item() >= 0.994
