"""MLflow's model registry: the version with the alias `champion` is the one to serve, `previous` the one before."""

import contextlib
import getpass
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from mnist_lightning.tracking import runs, served_model
from mnist_lightning.tracking.runs import TrackingError

REGISTERED_MODEL = "mnist"
CHAMPION, PREVIOUS = "champion", "previous"
EVENT = "event."  # begins the names of a version's tags that say when it became the champion, and why
PROMOTION, ROLLBACK = "promotion", "rollback"


@dataclass(frozen=True)
class Event:
    """A change of the champion."""

    time: str  # ISO 8601, UTC
    kind: str  # PROMOTION or ROLLBACK
    version: str  # of the registered model, that became the champion
    run_id: str
    weights: str  # digest, as the server's answers name it
    user: str
    reason: str


def promote(run_id: str, weights: str, reason: str) -> str:
    """Register a run's served model as a new version, described by its model card, and make it the champion.

    Args:
        run_id: the run.
        weights: digest of the archive's weights, for the history.
        reason: for the history.

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
    version = client.create_model_version(REGISTERED_MODEL, uri, run_id, model_id=uri.rpartition("/")[2])
    client.update_model_version(REGISTERED_MODEL, version.version, runs.load_text(run_id, runs.MODEL_CARD))
    _make_champion(version, _version(CHAMPION), PROMOTION, weights, reason)
    return str(version.version)


def roll_back(weights: str, reason: str) -> str:
    """Make the previous champion the champion again, and the champion the previous one; the former's version.

    Raises TrackingError if there is no previous one.
    """
    version, former = previous(), _version(CHAMPION)
    _make_champion(version, former, ROLLBACK, weights, reason)
    return str(version.version)


def previous() -> ModelVersion:
    """The version that was the champion before. Raises TrackingError if there is none."""
    version = _version(PREVIOUS)
    if version is None:
        raise TrackingError(f"MLflow at {runs.tracking_uri()} has no previous champion; a second promotion makes one")
    return version


def champion() -> str:
    """The id of the champion's run. Raises TrackingError if there is no champion."""
    version = _version(CHAMPION)
    if version is None:
        raise TrackingError(
            f"MLflow at {runs.tracking_uri()} has no champion yet; train one: python -m mnist_lightning.train"
        )
    return str(version.run_id)


def history() -> list[Event]:
    """The changes of the champion, oldest first."""
    versions = mlflow.MlflowClient().search_model_versions(f"name='{REGISTERED_MODEL}'")
    texts = [value for version in versions for name, value in version.tags.items() if name.startswith(EVENT)]
    return sorted((Event(**json.loads(text)) for text in texts), key=lambda event: event.time)


def _make_champion(version: ModelVersion, former: ModelVersion | None, kind: str, weights: str, reason: str) -> None:
    """Make a version the champion and the former one the previous, and record it."""
    client = mlflow.MlflowClient()
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")  # names of tags have no plus
    event = Event(now, kind, str(version.version), str(version.run_id), weights, getpass.getuser(), reason)
    client.set_model_version_tag(REGISTERED_MODEL, version.version, f"{EVENT}{now}", json.dumps(asdict(event)))
    if former is not None and former.version != version.version:
        client.set_registered_model_alias(REGISTERED_MODEL, PREVIOUS, former.version)
    client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, version.version)


def _version(alias: str) -> ModelVersion | None:
    with contextlib.suppress(MlflowException):  # there is no such model, or no such alias
        return mlflow.MlflowClient().get_model_version_by_alias(REGISTERED_MODEL, alias)
    return None
