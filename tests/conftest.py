"""What the tests share: MNIST, one small comparison that was really trained, one server that really runs."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mnist_lightning import mnist
from mnist_lightning.server import Server, free_port, running

PROJECT = Path(__file__).resolve().parent.parent
SEVEN = PROJECT / "tests" / "seven.png"  # MNIST's first test digit, dark on white, 280×280 pixels


@dataclass(frozen=True)
class Trained:
    """A comparison of the three optimizers on a slice of MNIST, made by the command that users run."""

    folder: Path
    store: Path
    tracking_uri: str
    output: str


def verb(name: str, *flags: str, cwd: Path = PROJECT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m mnist_lightning.NAME` as a user would, with no environment activated."""
    return subprocess.run(
        [sys.executable, "-m", f"mnist_lightning.{name}", *flags],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The folder with MNIST's four files, fetched if need be."""
    folder = PROJECT / "data" / "MNIST" / "raw"
    mnist.fetch(folder)
    return folder


def train(folder: Path, mnist_folder: Path, recipe: str, *flags: str) -> Trained:
    """Run the training as a user would, into a folder of its own."""
    store, uri = folder / "model_store", f"sqlite:///{folder}/mlflow.db"
    places = ["--data_dir", str(mnist_folder), "--model_store", str(store)]
    config = ["--config", str(PROJECT / "config" / recipe)]
    done = verb("train", *config, *flags, *places, cwd=folder, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 0, done.stderr
    return Trained(folder, store, uri, done.stdout)


@pytest.fixture(scope="session")
def reader_store(tmp_path_factory: pytest.TempPathFactory, mnist_folder: Path) -> Trained:
    """One network that has learnt enough to hold the preprocessing to account: two epochs of all of MNIST."""
    return train(tmp_path_factory.mktemp("reader"), mnist_folder, "train.yaml", "--only", "SGD", "--epochs", "2")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, mnist_folder: Path) -> Trained:
    """Three optimizers, one epoch each of a part of MNIST, archived."""
    return train(tmp_path_factory.mktemp("trained"), mnist_folder, "quick.yaml", "--limit", "6000")


@pytest.fixture(scope="session")
def server(trained: Trained) -> Iterator[Server]:
    """TorchServe with the small comparison's archive."""
    with running(trained.store, free_port()) as running_server:
        yield running_server


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C works in child processes even where the test runner was started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
