"""Settings and fixtures of tests that run beside each other: one thread each, as many processes as there are cores."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch

from tests.mlflow_stores import create_tables, open_store

torch.set_num_threads(1)
cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's empty tables, which the test processes share: creating them takes seconds."""
    folder = tmp_path_factory.getbasetemp()
    return create_tables((folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "tables.db")


@pytest.fixture
def mlflow_store(mlflow_tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An MLflow store without runs in the current folder, which is a temporary one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")  # MLflow caches stores by this text
    with open_store(mlflow_tables, tmp_path / "mlflow.db"):
        yield tmp_path
