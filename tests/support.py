"""What tests share: the project's folder, a picture, and ways to run its commands as a user does."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from mnist_lightning.models.digitnet import load
from mnist_lightning.packaging.archiver import build
from tests.make_weights import WEIGHTS_FILE

PROJECT = Path(__file__).resolve().parent.parent
SEVEN = PROJECT / "tests" / "seven.png"  # MNIST's first test digit, dark on white, 280×280 pixels
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


def build_small_store(folder: Path) -> Path:
    """A model store with an archive of the committed weights and the code as it is now."""
    archive = build(load(WEIGHTS_FILE.read_bytes()), folder)
    store = folder / "model_store"
    store.mkdir()
    archive.replace(store / archive.name)
    return store
