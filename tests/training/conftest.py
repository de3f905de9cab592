"""Trainings in this process, with one thread: importing torch, Lightning and MLflow in another one takes seconds."""

import contextlib
import io
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import mlflow
import pytest
from filelock import FileLock

from mnist_lightning import train
from mnist_lightning.packaging import archiver, reference
from tests.small_archive import committed_export
from tests.support import shared_folder

ONE_THREAD = {"OMP_NUM_THREADS": "1"}

TRAINED_FLAGS = (
    *("--config", "quick.yaml", "--limit", "6000", "--outliers", "10"),
    *("--widths", "[8, 16]", "--batch_size", "64"),
)
TINY_FLAGS = ("--limit", "640", "--outliers", "5", "--widths", "[8, 8]", "--batch_size", "64")


@dataclass(frozen=True)
class Trained:
    """A comparison of the three optimizers on a slice of MNIST."""

    folder: Path
    store: Path
    tracking_uri: str
    output: str


@dataclass(frozen=True)
class Finished:
    """A command that has finished."""

    code: int
    output: str
    errors: str


@dataclass(frozen=True)
class Workplace:
    """A folder with an MLflow store in which the training runs."""

    folder: Path
    mnist_folder: Path

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def train(self, *flags: str) -> Finished:
        """Run `train` as if it was started in the folder."""
        return self.run(train.main, *flags)

    def run(self, main: Callable[[list[str]], int], *flags: str) -> Finished:
        """Run a verb in this process as if it was started in the folder."""
        output, errors = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            patch.dict(os.environ, {"MLFLOW_TRACKING_URI": self.tracking_uri}),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            warnings.simplefilter("default")  # as in a process of its own
            try:
                code = main([*flags])
            except SystemExit as stop:
                code = int(stop.code or 0)
            finally:
                mlflow.set_tracking_uri("")
        return Finished(code, output.getvalue(), errors.getvalue())

    def places(self) -> list[str]:
        """Flags for where MNIST is and where the archive goes."""
        return ["--data_dir", str(self.mnist_folder), "--model_store", "model_store"]


@pytest.fixture
def quick_promotion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promotions in this process take seconds less: without an export of their own, with a reference of few images."""
    monkeypatch.setattr(archiver, "to_onnx", committed_export)
    monkeypatch.setattr(reference, "PICTURES", 50)


@pytest.fixture
def workplace(tmp_path: Path, mnist_folder: Path, mlflow_tables: Path, quick_promotion: None) -> Workplace:
    shutil.copy(mlflow_tables, tmp_path / "mlflow.db")
    return Workplace(tmp_path, mnist_folder)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, mnist_folder: Path, mlflow_tables: Path) -> Trained:
    """Three optimizers, one epoch each of a part of MNIST, archived; once for all test processes."""
    folder = shared_folder(tmp_path_factory) / "trained"
    workplace, output = Workplace(folder, mnist_folder), folder / "output"
    with FileLock(f"{folder}.lock"):
        if not output.is_file():
            folder.mkdir(exist_ok=True)
            shutil.copy(mlflow_tables, folder / "mlflow.db")
            finished = workplace.train(*TRAINED_FLAGS, *workplace.places())
            assert finished.code == 0, finished.errors
            output.write_text(finished.output)
    return Trained(folder, folder / "model_store", workplace.tracking_uri, output.read_text())
