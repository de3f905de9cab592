"""Fixtures of every folder: MNIST, a small archive, one server of it for each process of pytest.

Large libraries are imported in the fixtures that need them. The process that hands the tests to others needs none.
"""

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from mnist_lightning.serving.torchserve import Server, free_port, running
from tests.support import PROJECT, shared_folder

# How many examples the property tests try: many, but in `make check` few.
settings.register_profile("fast", max_examples=40, deadline=None)
settings.register_profile("gate", max_examples=400, deadline=None)
settings.load_profile("gate")


def pytest_configure() -> None:
    """Collect no garbage while the tests are imported: of large libraries it takes a quarter of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave what has been imported out of every later garbage collection, and collect more rarely.

    Fixtures import large libraries, too; looking through these again and again takes a twelfth of the tests' time.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """As in the processes that tests start: with another number of threads, sums differ in their last bits.

    One is also faster than two while other tests run.
    """
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The folder with MNIST's four files, fetched if need be."""
    from mnist_lightning.datasets import mnist

    folder = PROJECT / "data" / "MNIST" / "raw"
    mnist.fetch(folder)
    return folder


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's empty tables, which the test processes share: creating them takes seconds."""
    from tests.mlflow_stores import create_tables

    return create_tables(shared_folder(tmp_path_factory) / "tables.db")


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with a small trained network."""
    from tests.small_archive import build_small_store

    return build_small_store(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def server(small_store: Path) -> Iterator[Server]:
    """TorchServe with the small network's archive."""
    with running(small_store, free_port()) as running_server:
        yield running_server


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C works in child processes even where the test runner was started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
