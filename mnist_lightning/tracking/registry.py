"""MLflow's model registry: the version with the alias `champion` is the one to serve."""

import contextlib

import mlflow
from mlflow.exceptions import MlflowException

from mnist_lightning.tracking import runs, served_model
from mnist_lightning.tracking.runs import TrackingError

REGISTERED_MODEL = "mnist"
CHAMPION = "champion"


def promote(run_id: str) -> str:
    """Register a run's served model as a new version, described by its model card, and make it the champion.

    Returns:
        The version.

    Raises:
        TrackingError: the run has no served model.
    """
    uri = runs.tags(run_id).get(served_model.MODEL_URI)
    if uri is None:
        raise TrackingError(f"run {run_id} has no served model in MLflow; archiving it for a promotion logs one")
    client = mlflow.MlflowClient()
    with contextlib.suppress(MlflowException):  # it exists already
        client.create_registered_model(REGISTERED_MODEL)
    version = client.create_model_version(REGISTERED_MODEL, uri, run_id, model_id=uri.rpartition("/")[2]).version
    client.update_model_version(REGISTERED_MODEL, version, runs.load_text(run_id, runs.MODEL_CARD))
    client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, version)
    return str(version)


def champion() -> str:
    """The id of the champion's run. Raises TrackingError if there is no champion."""
    try:
        return str(mlflow.MlflowClient().get_model_version_by_alias(REGISTERED_MODEL, CHAMPION).run_id)
    except MlflowException as error:
        raise TrackingError(
            f"MLflow at {runs.tracking_uri()} has no champion yet; train one: python -m mnist_lightning.train"
        ) from error
