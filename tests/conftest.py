"""Fixtures of every folder: MNIST, a small archive, one server of it for each process of pytest."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from mnist_lightning.datasets import mnist
from mnist_lightning.serving.torchserve import Server, free_port, running
from tests.support import PROJECT, build_small_store

# How many examples the property tests try: many, but in `make check` few.
settings.register_profile("fast", max_examples=40, deadline=None)
settings.register_profile("gate", max_examples=400, deadline=None)
settings.load_profile("gate")


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The folder with MNIST's four files, fetched if need be."""
    folder = PROJECT / "data" / "MNIST" / "raw"
    mnist.fetch(folder)
    return folder


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with a small trained network."""
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
