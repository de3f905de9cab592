"""An MLflow store for each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def mlflow_store(mlflow_tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An MLflow store without runs in the current folder, which is a temporary one."""
    from tests.mlflow_stores import open_store

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")  # MLflow caches stores by this text
    with open_store(mlflow_tables, tmp_path / "mlflow.db"):
        yield tmp_path
