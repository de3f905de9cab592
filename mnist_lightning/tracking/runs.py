"""MLflow: what is recorded of a run, the registry, the champion. With comparisons.py, nothing else touches MLflow."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from lightning.pytorch.loggers import MLFlowLogger
from matplotlib.figure import Figure
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE
from torch import nn

from mnist_lightning.tracking import provenance

DEFAULT_ADDRESS = "sqlite:///mlflow.db"
EXPERIMENT = REGISTERED_MODEL = "mnist"
CHAMPION = "champion"
BEST_VALIDATION_ACCURACY = "best_validation_accuracy"
BEST_VALIDATION_LOSS = "best_validation_loss"
FINAL_TEST_ACCURACY = "final_test_accuracy"
CALIBRATION_ERROR = "test_calibration_error"
TEMPERATURE = "temperature"
THRESHOLD = "is_digit_threshold"
TRAINING_SECONDS = "training_seconds"
CHECKPOINT = "checkpoints/best.ckpt"
MODEL_URI = "model_uri"
MODEL_CARD = "model_card.md"
RECIPE = "recipe.yaml"
WORK = "work"  # tag: the process that trained it, as its folder of checkpoints is named


class TrackingError(RuntimeError):
    """MLflow does not answer, or does not know what is asked for."""


def address() -> str:
    """Where runs are recorded: MLFLOW_TRACKING_URI, or a SQLite file in this folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_ADDRESS


def connect() -> None:
    """Get MLflow ready to record. Raises TrackingError if the server does not answer."""
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    mlflow.set_tracking_uri(address())
    mlflow.set_system_metrics_sampling_interval(1)  # a second: a first look is over soon
    try:
        mlflow.set_experiment(EXPERIMENT)
        mlflow.set_experiment_tag("mlflow.experimentKind", "custom_model_development")  # opens on its runs
    except MlflowException as error:
        reason = str(error).splitlines()[0][:200]
        raise TrackingError(f"MLflow at {address()} cannot be used: {reason}. Set MLFLOW_TRACKING_URI") from error


@contextlib.contextmanager
def run(
    name: str | None = None,
    *,
    again: str | None = None,
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """A run for as long as the block lasts, a child of `parent` or of the open one; `again` opens an older run.

    Yields its id. It ends as FINISHED, as KILLED on Ctrl-C, or as FAILED on any other exception.
    """
    nested = mlflow.active_run() is not None
    every = {**provenance.tags(), **(tags or {})}
    child = nested or parent is not None
    started = mlflow.start_run(
        again, run_name=name, nested=nested, parent_run_id=parent, tags=every, log_system_metrics=child
    )
    run_id: str = started.info.run_id
    status = "FAILED"
    try:
        yield run_id
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        mlflow.end_run(status)


def logger(run_id: str) -> MLFlowLogger:
    """Lightning's logger, writing into an open run."""
    return MLFlowLogger(experiment_name=EXPERIMENT, tracking_uri=address(), run_id=run_id)


def record(
    *,
    parameters: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    texts: Mapping[str, str] | None = None,
    figures: Mapping[str, Figure] | None = None,
    files: Mapping[str, Path] | None = None,
    description: str | None = None,
) -> None:
    """Add to the open run; texts, figures and files by their name among its artifacts. Metrics come last.

    `description` is Markdown, which the run's page shows first.
    """
    mlflow.log_params(dict(parameters or {}))
    if description is not None:
        mlflow.set_tag(MLFLOW_RUN_NOTE, description)
    for name, text in (texts or {}).items():
        mlflow.log_text(text, name)
    for name, figure in (figures or {}).items():
        mlflow.log_figure(figure, name)
    for name, path in (files or {}).items():
        mlflow.log_artifact(str(path), str(Path(name).parent))
    mlflow.log_metrics(dict(metrics or {}))


def record_dataset(images: np.ndarray, labels: np.ndarray, name: str, context: str) -> None:
    """Note a data set with its digest as an input of the open run."""
    data = mlflow.data.from_numpy(  # type: ignore[attr-defined]  # made at import
        images, targets=labels, name=name
    )
    mlflow.log_input(data, context=context)


def record_model(network: nn.Module, example: np.ndarray) -> None:
    """Log the network as a model that MLflow can load and register: (B, 1, 28, 28) floats -> (B, 10) logits."""
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


def knows(run_id: str) -> bool:
    """Whether there is such a run, and it was not deleted."""
    try:
        return str(mlflow.get_run(run_id).info.lifecycle_stage) == "active"
    except MlflowException:
        return False


def text(run_id: str, name: str) -> str:
    """A text among a run's artifacts. Raises TrackingError where there is no such run or text."""
    try:
        return str(mlflow.artifacts.load_text(f"runs:/{run_id}/{name}"))
    except (MlflowException, OSError) as error:
        raise TrackingError(f"MLflow at {address()} has no {name} of a run {run_id!r}") from error


def history(run_id: str, name: str) -> list[float]:
    """A metric's values by step; the last of each, as an interrupted training may have logged an epoch twice."""
    entries = sorted(mlflow.MlflowClient().get_metric_history(run_id, name), key=lambda one: (one.step, one.timestamp))
    return list({entry.step: entry.value for entry in entries}.values())


def tags(run_id: str) -> dict[str, str]:
    """A run's tags."""
    return dict(mlflow.get_run(run_id).data.tags)


def crown(run_id: str) -> str:
    """Register a run's model, with its card, as a new version with the alias `champion`; the version's number."""
    client = mlflow.MlflowClient()
    with contextlib.suppress(MlflowException):  # it exists already
        client.create_registered_model(REGISTERED_MODEL)
    uri = tags(run_id)[MODEL_URI]
    version = client.create_model_version(REGISTERED_MODEL, uri, run_id, model_id=uri.rpartition("/")[2]).version
    client.update_model_version(REGISTERED_MODEL, version, text(run_id, MODEL_CARD))
    client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, version)
    return str(version)


def champion() -> str:
    """The run behind the champion. Raises TrackingError if there is none yet."""
    try:
        return str(mlflow.MlflowClient().get_model_version_by_alias(REGISTERED_MODEL, CHAMPION).run_id)
    except MlflowException as error:
        raise TrackingError(
            f"MLflow at {address()} has no champion yet; train one: python -m mnist_lightning.train"
        ) from error


def checkpoint(run_id: str, folder: Path) -> Path:
    """Copy a run's best checkpoint into a folder. Raises TrackingError if the run has none."""
    try:
        path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=CHECKPOINT, dst_path=str(folder))
    except (MlflowException, OSError) as error:
        raise TrackingError(f"run {run_id} has no {CHECKPOINT} in MLflow at {address()}") from error
    return Path(path)
