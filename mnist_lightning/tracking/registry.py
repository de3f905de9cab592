"""MLflow's model registry: the version with the alias `champion` is the one to serve, `previous` the one before.

The version with the alias `challenger` becomes the champion if it passes the comparison of `promote`.
"""

import contextlib
from typing import TypeAlias

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from mnist_lightning.tracking import runs, served_model
from mnist_lightning.tracking.runs import TrackingError

REGISTERED_MODEL = "mnist"
CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"  # aliases
Version: TypeAlias = ModelVersion


def register(run_id: str) -> Version:
    """Register a run's served model as a new version, described by its model card.

    Raises:
        TrackingError: the run has no served model.
    """
    uri = runs.tags(run_id).get(served_model.MODEL_URI)
    if uri is None:
        raise TrackingError(f"run {run_id} has no served model in MLflow; archiving it for a promotion logs one")
    client = mlflow.MlflowClient()
    with contextlib.suppress(MlflowException):  # it exists already
        client.create_registered_model(REGISTERED_MODEL)
    version = client.create_model_version(REGISTERED_MODEL, uri, run_id, model_id=uri.rpartition("/")[2])
    return client.update_model_version(REGISTERED_MODEL, version.version, runs.load_text(run_id, runs.MODEL_CARD))


def find(alias: str) -> Version | None:
    """The version with an alias, if there is one."""
    with contextlib.suppress(MlflowException):  # there is no such model, or no such alias
        return mlflow.MlflowClient().get_model_version_by_alias(REGISTERED_MODEL, alias)
    return None


def champion() -> str:
    """The id of the champion's run. Raises TrackingError if there is no champion."""
    version = find(CHAMPION)
    if version is None:
        raise TrackingError(
            f"MLflow at {runs.tracking_uri()} has no champion yet; train one: python -m mnist_lightning.train"
        )
    return str(version.run_id)


def make_challenger(version: Version) -> None:
    """Give a version the alias of the challenger, instead of another one that may have it."""
    _set(CHALLENGER, version)


def make_champion(version: Version) -> None:
    """Make a version the champion, and the champion that it replaces the previous one; it is no challenger then."""
    former, challenger = find(CHAMPION), find(CHALLENGER)
    if former is None or former.version != version.version:
        _set(PREVIOUS, former)
    _set(CHAMPION, version)
    if challenger is not None and challenger.version == version.version:
        _set(CHALLENGER, None)


def exchange() -> None:
    """Make the previous champion the champion, and the champion the previous one; either may be missing."""
    champion, previous = find(CHAMPION), find(PREVIOUS)
    _set(CHAMPION, previous)
    _set(PREVIOUS, champion)


def _set(alias: str, version: Version | None) -> None:
    """Move an alias to a version, or take it from all versions."""
    client = mlflow.MlflowClient()
    if version is not None:
        client.set_registered_model_alias(REGISTERED_MODEL, alias, version.version)
    elif find(alias) is not None:
        client.delete_registered_model_alias(REGISTERED_MODEL, alias)
