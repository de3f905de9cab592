"""What tests share: the project's folder, a picture, and ways to run its commands as a user does."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import onnx
import torch

from mnist_lightning.common.constants import WEIGHTS_PROPERTY
from mnist_lightning.common.digests import short_digest
from mnist_lightning.models.digitnet import DigitNet, load
from mnist_lightning.packaging import archiver
from tests.make_weights import WEIGHTS_FILE

PROJECT = Path(__file__).resolve().parent.parent
SEVEN = PROJECT / "tests" / "seven.png"  # MNIST's first test digit, dark on white, 280×280 pixels
# The start of a script: an import of the packages that `blocked` names fails, as if they were not installed.
BLOCK_IMPORTS = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ImportError(f"{{name}} is not installed")

sys.meta_path.insert(0, Blocked())
"""
TIMEOUT = 300  # seconds for one command


@dataclass(frozen=True)
class Trained:
    """A comparison of the three optimizers on a slice of MNIST, made by the command that users run."""

    folder: Path
    store: Path
    tracking_uri: str
    output: str


def verb(name: str, *flags: str, cwd: Path = PROJECT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m mnist_lightning.NAME` as a user does, with no environment activated."""
    return subprocess.run(
        [sys.executable, "-m", f"mnist_lightning.{name}", *flags],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def train(folder: Path, mnist_folder: Path, recipe: str, *flags: str) -> Trained:
    """Run the training as a user does, into a folder of its own."""
    store, uri = folder / "model_store", f"sqlite:///{folder}/mlflow.db"
    places = ["--data_dir", str(mnist_folder), "--model_store", str(store)]
    config = ["--config", str(PROJECT / "config" / recipe)]
    done = verb("train", *config, *flags, *places, cwd=folder, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 0, done.stderr
    return Trained(folder, store, uri, done.stdout)


def committed_export(_: DigitNet, weights: bytes) -> bytes:
    """In place of `to_onnx`, which takes seconds: the committed export, as that of a file with the same weights."""
    model = onnx.load(WEIGHTS_FILE.with_suffix(".onnx"))
    for item in model.metadata_props:
        if item.key == WEIGHTS_PROPERTY:
            item.value = short_digest(weights)
    content: bytes = model.SerializeToString()
    return content


def build_small(folder: Path) -> Path:
    """An archive of the committed weights and the code as it is now, built in `folder`."""
    with patch.object(archiver, "to_onnx", committed_export):
        return archiver.build(load(WEIGHTS_FILE.read_bytes()), folder)


def build_small_store(folder: Path) -> Path:
    """A model store with the archive that `build_small` makes."""
    archive = build_small(folder)
    store = folder / "model_store"
    store.mkdir()
    archive.replace(store / archive.name)
    return store


def assert_rounded(network: DigitNet, exact: DigitNet) -> None:
    """The weights of a network are those of another one, rounded to 16 bits as an archive stores them."""
    weights = network.state_dict()
    for name, value in exact.state_dict().items():
        torch.testing.assert_close(weights[name], value.half().float() if value.ndim > 1 else value, rtol=0, atol=0)
