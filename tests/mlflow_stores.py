"""MLflow stores for tests, and runs in them that look like finished trainings."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
from filelock import FileLock

from mnist_lightning.tracking import runs, served_model


def create_tables(path: Path) -> Path:
    """Create MLflow's tables in a SQLite file, unless another process has done so."""
    with FileLock(f"{path}.lock"):
        if not path.is_file():
            scratch = path.with_suffix(".part")
            mlflow.MlflowClient(f"sqlite:///{scratch}").search_experiments()
            scratch.replace(path)
    return path


@contextlib.contextmanager
def open_store(tables: Path, path: Path) -> Iterator[None]:
    """Connect to a copy of empty tables while the block runs."""
    shutil.copy(tables, path)
    try:
        runs.connect()
        yield
    finally:
        mlflow.set_tracking_uri("")


def log_training(
    comparison_id: str,
    optimizer: str,
    accuracy: float = 0.99,
    *,
    loss: float = 0.1,
    seed: int = 0,
    test_accuracy: float = 0.98,
    temperature: float = 1.0,
    files: dict[str, Path] | None = None,
) -> str:
    """Log a finished training of a comparison; its run."""
    with runs.run(optimizer, parent=comparison_id) as run_id:
        runs.log(
            parameters={"optimizer": optimizer, "seed": seed},
            files=files,
            texts={runs.MODEL_CARD: f"card of {optimizer}"},
            metrics={
                runs.BEST_VALIDATION_ACCURACY: accuracy,
                runs.BEST_VALIDATION_LOSS: loss,
                runs.FINAL_TEST_ACCURACY: test_accuracy,
                runs.TRAINING_SECONDS: 12.0,
                runs.TEMPERATURE: temperature,
                runs.THRESHOLD: 0.3,
            },
        )
    return run_id


def log_served_model(run_id: str) -> None:
    """Give a run an empty model that can be registered as its served one."""
    logged = mlflow.initialize_logged_model("model", source_run_id=run_id)
    mlflow.finalize_logged_model(logged.model_id, "READY")
    mlflow.MlflowClient().set_tag(run_id, served_model.MODEL_URI, logged.model_uri)
