"""The history of the champion: a run in MLflow's experiment "promotions" for each decision, shown there as a table."""

import time
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum

import mlflow
from matplotlib.figure import Figure
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_USER
from rich.table import Table

from mnist_lightning.common.machine import user_name
from mnist_lightning.evaluation.tables import print_table
from mnist_lightning.tracking import provenance, runs
from mnist_lightning.tracking.registry import Version

EXPERIMENT = "promotions"
WIDTH = 160  # characters at least


class Kind(StrEnum):
    """What was decided on a model."""

    CHALLENGER = "challenger"
    PROMOTION = "promotion"
    FORCED_PROMOTION = "forced promotion"
    REJECTION = "rejection"
    ROLLBACK = "rollback"


@dataclass(frozen=True)
class Event:
    """A decision on a model."""

    time: str  # UTC, to the second
    kind: str  # of Kind
    version: str  # of the registered model; empty if MLflow does not know the model
    run_id: str
    weights: str  # digest, as the server's answers name it
    champion: str  # the same of the champion before; empty if there was none
    user: str
    reason: str


def record(
    kind: Kind,
    version: Version | None,
    *,
    weights: str,
    champion: str,
    reason: str,
    metrics: Mapping[str, float] | None = None,
    texts: Mapping[str, str] | None = None,
    figures: Mapping[str, Figure] | None = None,
    description: str = "",
) -> Event:
    """Record a decision. The arguments are the fields of an `Event`, and those of `runs.log`."""
    now = int(1000 * time.time())
    number, run_id = ("", "") if version is None else (str(version.version), str(version.run_id))
    event = Event(_format(now), kind, number, run_id, weights, champion, user_name(), reason)
    client = mlflow.MlflowClient()
    tags = {**provenance.tags(), MLFLOW_USER: event.user, runs.DESCRIPTION: description}
    name = f"{kind} of version {number}" if number else str(kind)
    opened = client.create_run(_experiment(client), start_time=now, tags=tags, run_name=name).info.run_id
    client.log_batch(
        opened,
        metrics=[Metric(key, value, now, 0) for key, value in (metrics or {}).items()],
        params=[Param(key, value) for key, value in asdict(event).items()],
    )
    for path, text in (texts or {}).items():
        client.log_text(opened, text, path)
    for path, figure in (figures or {}).items():
        client.log_figure(opened, figure, path)
    client.set_terminated(opened)
    return event


def events() -> list[Event]:
    """All decisions, oldest first."""
    found = mlflow.search_runs(
        experiment_names=[EXPERIMENT],
        filter_string="attributes.status = 'FINISHED'",
        order_by=["attributes.start_time"],
        output_format="list",
    )
    names = [field.name for field in fields(Event)]
    return [Event(**{name: run.data.params.get(name, "") for name in names}) for run in found]


def print_events() -> None:
    """Print all decisions as a table."""
    table = Table(*(field.name for field in fields(Event)))
    for event in events():
        table.add_row(*astuple(event))
    print_table(table, WIDTH)


def _format(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(sep=" ", timespec="seconds")[:19]


def _experiment(client: mlflow.MlflowClient) -> str:
    """The id of the experiment, which is created if need be; another process may do so at the same moment."""
    if (found := client.get_experiment_by_name(EXPERIMENT)) is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(EXPERIMENT, tags=dict([runs.OPENS_ON_RUNS])))
    except MlflowException:
        if (found := client.get_experiment_by_name(EXPERIMENT)) is None:
            raise
        return str(found.experiment_id)
