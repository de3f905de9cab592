"""Comparisons in MLflow: their trainings, and how processes that know of each other only a name share one."""

from collections.abc import Sequence
from dataclasses import dataclass

import mlflow
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from mnist_lightning.tracking import provenance
from mnist_lightning.tracking import runs as tracking
from mnist_lightning.tracking.runs import TrackingError

RUN = "comparison_run"  # tag of the claim, below: the run of the comparison
SHARED = "shared_comparison"  # tag of that run: its name


@dataclass(frozen=True)
class Candidate:
    """One finished run of a comparison."""

    optimizer: str
    seed: int
    run_id: str
    validation_accuracy: float
    validation_loss: float
    final_test_accuracy: float
    seconds: float
    temperature: float  # that the logits are divided by for probabilities to be believed
    is_digit_threshold: float  # below which a picture does not look like a digit
    started: int  # milliseconds since 1970


def finished(comparison_id: str) -> list[Candidate]:
    """The finished runs of a comparison, best first: by validation accuracy, then by validation loss."""
    runs = _runs(f"tags.`mlflow.parentRunId` = '{comparison_id}' and attributes.status = 'FINISHED'")
    found = [
        _candidate(run) for run in runs if {tracking.FINAL_TEST_ACCURACY, tracking.THRESHOLD} <= set(run.data.metrics)
    ]
    return sorted(found, key=lambda c: (-c.validation_accuracy, c.validation_loss))


def newest(found: Sequence[Candidate]) -> list[Candidate]:
    """Of each optimizer and seed the run that was started last, in the same order."""
    last = {(one.optimizer, one.seed): one for one in sorted(found, key=lambda one: one.started)}
    return [one for one in found if one in last.values()]


def statuses(comparison_id: str) -> dict[str, str]:
    """How the newest training of each name in a comparison stands, in MLflow's words."""
    runs = sorted(_runs(f"tags.`mlflow.parentRunId` = '{comparison_id}'"), key=lambda run: run.info.start_time)
    return {run.info.run_name: str(run.info.status) for run in runs}


def trainings(comparison_id: str, work: str) -> dict[str, tuple[str, bool]]:
    """The trainings of one process's part of a comparison, by name: the run's id, and whether it is finished."""
    found = _runs(f"tags.`mlflow.parentRunId` = '{comparison_id}' and tags.`{tracking.WORK}` = '{work}'")
    return {run.info.run_name: (run.info.run_id, tracking.FINAL_TEST_ACCURACY in run.data.metrics) for run in found}


def of_run(run_id: str) -> str:
    """The parent of a run. Raises TrackingError for a run that MLflow does not know or that has no parent."""
    try:
        parent = mlflow.get_run(run_id).data.tags.get("mlflow.parentRunId")
    except MlflowException as error:
        raise TrackingError(f"MLflow at {tracking.address()} knows no run {run_id!r}") from error
    if parent is None:
        raise TrackingError(f"run {run_id} is not one optimizer's training: it has no parent run")
    return str(parent)


def shared(name: str, recipe: str) -> str:
    """The run of the comparison that everybody who asks for this name shares; made, with its recipe, if need be.

    MLflow takes any number of runs of one name, but of experiments only one, and with its tags in one transaction.
    So everybody makes a run, and claims the name by an experiment that names it; who comes second deletes his run.
    The experiment is hidden at once: its name stays taken.
    """
    if (found := _claimed(name)) is not None:
        return found
    client = mlflow.MlflowClient()
    older = sorted(_runs(f"tags.{SHARED} = '{name}'"), key=lambda run: run.info.start_time)  # `mlflow gc` ends claims
    mine = older[0].info.run_id if older else _made(name, recipe)
    try:
        client.delete_experiment(client.create_experiment(_claim(name), tags={RUN: mine}))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise TrackingError(f"comparison {name!r} cannot be opened: {str(error)[:200]}") from error
    agreed = named(name)
    if agreed != mine and not older:
        client.delete_run(mine)
    return agreed


def named(name: str) -> str:
    """The run of the comparison that is shared by this name. Raises TrackingError where there is none."""
    found = _claimed(name)
    if found is None:
        begin = f"python -m mnist_lightning.train --comparison {name}"
        raise TrackingError(f"MLflow at {tracking.address()} has no comparison {name!r}; begin it: {begin}")
    if not tracking.knows(found):
        raise TrackingError(f"comparison {name!r} was deleted (run {found}); restore that run, or use another name")
    return found


def _claim(name: str) -> str:
    return f"{tracking.EXPERIMENT}: comparison {name}"


def _claimed(name: str) -> str | None:
    claim: Experiment | None = mlflow.get_experiment_by_name(_claim(name))  # hidden ones too
    return None if claim is None else str(claim.tags[RUN])


def _made(name: str, recipe: str) -> str:
    client = mlflow.MlflowClient()
    experiment = mlflow.set_experiment(tracking.EXPERIMENT)
    tags = {**provenance.tags(), SHARED: name}
    made: Run = client.create_run(experiment.experiment_id, run_name=name, tags=tags)
    client.log_text(made.info.run_id, recipe, tracking.RECIPE)
    return str(made.info.run_id)


def _runs(query: str) -> list[Run]:
    found = mlflow.search_runs(experiment_names=[tracking.EXPERIMENT], filter_string=query, output_format="list")
    return list(found)


def _candidate(found: Run) -> Candidate:
    metrics = found.data.metrics
    return Candidate(
        optimizer=found.data.params["optimizer"],
        seed=int(found.data.params["seed"]),
        run_id=found.info.run_id,
        validation_accuracy=metrics[tracking.BEST_VALIDATION_ACCURACY],
        validation_loss=metrics[tracking.BEST_VALIDATION_LOSS],
        final_test_accuracy=metrics[tracking.FINAL_TEST_ACCURACY],
        seconds=metrics[tracking.TRAINING_SECONDS],
        temperature=metrics[tracking.TEMPERATURE],
        is_digit_threshold=metrics[tracking.THRESHOLD],
        started=found.info.start_time,
    )
