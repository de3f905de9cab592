"""Fixtures of tests that train."""

from pathlib import Path

import pytest

from tests.support import Trained, train


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, mnist_folder: Path) -> Trained:
    """Three optimizers, one epoch each of a part of MNIST, archived."""
    return train(tmp_path_factory.mktemp("trained"), mnist_folder, "quick.yaml", "--limit", "6000")
