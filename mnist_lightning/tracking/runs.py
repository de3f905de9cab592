"""Runs in MLflow: opening them, logging to them, reading them. Only this package imports MLflow."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import mlflow
import numpy as np
import torch
from matplotlib.figure import Figure
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE
from torch import nn

from mnist_lightning.common.files import check_writable
from mnist_lightning.tracking import provenance

DEFAULT_URI = "sqlite:///mlflow.db"  # in the current folder
EXPERIMENT = "mnist"
SEGMENTER_EXPERIMENT, LINE_READER_EXPERIMENT = "segmenter", "line-reader"
OPENS_ON_RUNS = ("mlflow.experimentKind", "custom_model_development")  # the experiment's tag, read by MLflow's page

# Metrics of a finished run.
BEST_VALIDATION_ACCURACY = "best_validation_accuracy"
BEST_VALIDATION_LOSS = "best_validation_loss"
FINAL_TEST_ACCURACY = "final_test_accuracy"
CALIBRATION_ERROR = "test_calibration_error"
TEMPERATURE = "temperature"
THRESHOLD = "is_digit_threshold"
TRAINING_SECONDS = "training_seconds"

# Artifacts.
CHECKPOINT = "checkpoints/best.ckpt"
MODEL_CARD = "model_card.md"
RECIPE = "recipe.yaml"

# Tags.
MODEL_URI = "model_uri"
DESCRIPTION = MLFLOW_RUN_NOTE
WORKSPACE = "work"  # the name of the folder of checkpoints of the process that trained the run


class TrackingError(RuntimeError):
    """MLflow does not answer, or does not have what is requested."""


def tracking_uri() -> str:
    """The URI of MLflow's store: MLFLOW_TRACKING_URI, or a SQLite file in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def connect(*, create: bool = True, experiment: str = EXPERIMENT) -> None:
    """Configure MLflow to use the store of `tracking_uri`.

    Args:
        create: create the store and the experiment if they do not exist. A command that only reads passes False.
        experiment: the experiment in which runs are opened.

    Raises:
        TrackingError: the store cannot be used, or it does not exist and `create` is False.
    """
    uri = tracking_uri()
    path = _local_path(uri)
    if not create and path is not None and not path.exists():
        raise TrackingError(f"no MLflow store at {uri}; train first: python -m mnist_lightning.train")
    if create and path is not None:
        _check_writable(path)
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    mlflow.set_tracking_uri(uri)
    mlflow.set_system_metrics_sampling_interval(1)  # seconds; a quick try ends before MLflow's default of 10
    try:
        if create:
            mlflow.set_experiment(experiment)
            _write_shared(partial(mlflow.set_experiment_tag, *OPENS_ON_RUNS))
        else:
            mlflow.get_experiment_by_name(experiment)
    except Exception as error:  # while it opens a store, MLflow lets errors of the database's driver through
        raise TrackingError(f"MLflow at {uri} cannot be used: {_reason(error)}. Set MLFLOW_TRACKING_URI") from error


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Raise TrackingError for any error of MLflow's in the block, such as a full disk or a lost connection."""
    try:
        yield
    except MlflowException as error:
        raise TrackingError(f"MLflow at {tracking_uri()} failed: {_reason(error)}") from error


@contextlib.contextmanager
def run(
    name: str | None = None,
    *,
    run_id: str | None = None,
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Open a run while the block runs, and yield its id.

    The run ends as FINISHED, as KILLED after Ctrl-C, or as FAILED after any other exception.

    Args:
        name: the name of a new run.
        run_id: open this existing run instead of a new one.
        parent: the id of the parent run; by default the run that is open, if there is one.
        tags: added to those of `provenance`.
    """
    nested = mlflow.active_run() is not None
    all_tags = {**provenance.tags(), **(tags or {})}
    is_child = nested or parent is not None
    opened = mlflow.start_run(
        run_id, run_name=name, nested=nested, parent_run_id=parent, tags=all_tags, log_system_metrics=is_child
    )
    status = "FAILED"
    try:
        yield str(opened.info.run_id)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        mlflow.end_run(status)


def log(
    *,
    parameters: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    texts: Mapping[str, str] | None = None,
    figures: Mapping[str, Figure] | None = None,
    files: Mapping[str, Path] | None = None,
    description: str | None = None,
) -> None:
    """Log to the open run: parameters and metrics by name, and artifacts by name; metrics come last.

    Args:
        files: paths of local files; the name of each artifact ends with the name of its file.
        description: Markdown for the top of the run's page.
    """
    mlflow.log_params(dict(parameters or {}))
    if description is not None:
        mlflow.set_tag(DESCRIPTION, description)
    for name, text in (texts or {}).items():
        mlflow.log_text(text, name)
    for name, figure in (figures or {}).items():
        mlflow.log_figure(figure, name)
    for name, path in (files or {}).items():
        mlflow.log_artifact(str(path), str(Path(name).parent))
    mlflow.log_metrics(dict(metrics or {}))


def log_dataset(images: np.ndarray, labels: np.ndarray, name: str, context: str) -> None:
    """Log a dataset's name, shape and digest as an input of the open run."""
    dataset = mlflow.data.from_numpy(  # type: ignore[attr-defined]  # defined when mlflow.data is imported
        images, targets=labels, name=name
    )
    _write_shared(partial(mlflow.log_input, dataset, context=context))


def log_model(network: nn.Module, example: np.ndarray) -> None:
    """Log the network to the open run as a model that MLflow can load and register.

    Args:
        network: (B, 1, 28, 28) floats in [0, 1] -> (B, 10) logits.
        example: an input of the network.
    """
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 1, 28, 28))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 10))]),
    )
    requirements = [f"torch=={torch.__version__.split('+')[0]}", f"numpy=={np.__version__}"]
    logged = mlflow.pytorch.log_model(
        network.cpu().eval(),
        name="model",
        signature=signature,
        input_example=example,
        pip_requirements=requirements,
    )
    mlflow.set_tag(MODEL_URI, logged.model_uri)


def exists(run_id: str) -> bool:
    """Whether there is a run of this id that is not deleted."""
    try:
        return str(mlflow.get_run(run_id).info.lifecycle_stage) == "active"
    except MlflowException:
        return False


def load_text(run_id: str, name: str) -> str:
    """The text of an artifact. Raises TrackingError if the run or the artifact does not exist."""
    try:
        return str(mlflow.artifacts.load_text(f"runs:/{run_id}/{name}"))
    except (MlflowException, OSError) as error:
        raise TrackingError(f"run {run_id!r} has no {name} in MLflow at {tracking_uri()}") from error


def download_checkpoint(run_id: str, folder: Path) -> Path:
    """Copy a run's best checkpoint to a folder; its path there. Raises TrackingError if the run has none."""
    try:
        path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=CHECKPOINT, dst_path=str(folder))
    except (MlflowException, OSError) as error:
        raise TrackingError(f"run {run_id!r} has no {CHECKPOINT} in MLflow at {tracking_uri()}") from error
    return Path(path)


def metric_history(run_id: str, name: str) -> list[float]:
    """The values of a metric by step; if a step was logged twice, as after an interruption, its last value."""
    entries = sorted(mlflow.MlflowClient().get_metric_history(run_id, name), key=lambda one: (one.step, one.timestamp))
    return list({entry.step: entry.value for entry in entries}.values())


def tags(run_id: str) -> dict[str, str]:
    """The tags of a run."""
    return dict(mlflow.get_run(run_id).data.tags)


def _write_shared(write: Callable[[], object]) -> None:
    """Write what other processes may write at the same moment: the experiment's tags and its datasets.

    MLflow looks for a row and then inserts it. Of two processes, the later one violates a unique constraint, which
    MLflow reports as a bad request; its second attempt finds the row.
    """
    try:
        write()
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        write()


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _check_writable(path: Path) -> None:
    """Raise TrackingError unless a local store can be written; MLflow itself would try for minutes."""
    try:
        check_writable(path if path.is_dir() else path.parent)
    except OSError as error:
        raise TrackingError(
            f"MLflow's store cannot be written: {error}; start in a folder that can be written, or set "
            "MLFLOW_TRACKING_URI"
        ) from error


def _local_path(uri: str) -> Path | None:
    """The file or folder of a local store, None for a server or a database server."""
    parts = urlsplit(uri)
    if parts.scheme == "sqlite":
        return Path(parts.path[1:]) if parts.path[1:] else None  # three slashes before a relative path, four before /
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None
