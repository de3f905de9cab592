"""Comparisons in MLflow: a parent run with a child for each training. Several machines can share one by its name."""

from collections.abc import Sequence
from dataclasses import dataclass

import mlflow
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from mnist_lightning.tracking import provenance, runs
from mnist_lightning.tracking.runs import TrackingError

COMPARISON_RUN = "comparison_run"  # tag of the experiment that reserves a name: the id of the comparison's run
SHARED_NAME = "shared_comparison"  # tag of a shared comparison's run: its name
FINISHED = "FINISHED"  # MLflow's status
REQUIRED_METRICS = {runs.FINAL_TEST_ACCURACY, runs.THRESHOLD}  # older releases trained without an OOD head


@dataclass(frozen=True)
class Candidate:
    """A finished training of a comparison."""

    optimizer: str
    seed: int
    run_id: str
    validation_accuracy: float
    validation_loss: float
    final_test_accuracy: float
    seconds: float  # of training
    temperature: float  # divides the logits to calibrate the probabilities
    is_digit_threshold: float  # pictures whose `is_digit` is below it are rejected
    started: int  # milliseconds since 1970


def finished(comparison_id: str) -> list[Candidate]:
    """The finished trainings of a comparison, best first: by validation accuracy, then by validation loss."""
    children = _search(f"tags.`mlflow.parentRunId` = '{comparison_id}'")
    candidates = [_candidate(run) for run in children if _is_finished(run)]
    return sorted(candidates, key=lambda candidate: (-candidate.validation_accuracy, candidate.validation_loss))


def newest(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidate of each optimizer and seed that was started last, in the same order."""
    by_start = sorted(candidates, key=lambda candidate: candidate.started)
    last = {(candidate.optimizer, candidate.seed): candidate for candidate in by_start}
    return [candidate for candidate in candidates if candidate in last.values()]


def statuses(comparison_id: str) -> dict[str, str]:
    """MLflow's status of the newest run of each training, by the training's name."""
    children = sorted(_search(f"tags.`mlflow.parentRunId` = '{comparison_id}'"), key=lambda run: run.info.start_time)
    return {run.info.run_name: str(run.info.status) for run in children}


def runs_of_workspace(comparison_id: str, workspace: str) -> dict[str, tuple[str, bool]]:
    """The trainings that one process has started in a comparison, by name: run id, and whether it is finished."""
    children = _search(f"tags.`mlflow.parentRunId` = '{comparison_id}' and tags.`{runs.WORKSPACE}` = '{workspace}'")
    return {run.info.run_name: (run.info.run_id, _is_finished(run)) for run in children}


def parent_of(run_id: str) -> str:
    """The comparison of a training's run. Raises TrackingError if the run does not exist or is not a training's."""
    try:
        parent = mlflow.get_run(run_id).data.tags.get("mlflow.parentRunId")
    except MlflowException as error:
        raise TrackingError(f"MLflow at {runs.tracking_uri()} has no run {run_id!r}") from error
    if parent is None:
        raise TrackingError(f"run {run_id} is not a training: it has no parent run")
    return str(parent)


def join(name: str, recipe: str) -> str:
    """The run of the comparison that is shared by `name`; it is created with its recipe if it does not exist.

    Processes that ask for the same name at the same time get the same run. MLflow allows any number of runs with the
    same name, but only one experiment, whose tags are written in the same transaction. So every process creates a
    run and then tries to create an experiment that reserves the name for this run. The processes that are too late
    delete their runs. The experiment is deleted at once to hide it; MLflow keeps the names of deleted experiments.

    Raises:
        TrackingError: the comparison cannot be created, or its run was deleted.
    """
    if (reserved := _reserved(name)) is not None:
        return reserved
    client = mlflow.MlflowClient()
    # `mlflow gc` removes deleted experiments, so a comparison may exist whose name is no longer reserved.
    older = sorted(_search(f"tags.{SHARED_NAME} = '{name}'"), key=lambda run: run.info.start_time)
    run_id = older[0].info.run_id if older else _create(name, recipe)
    try:
        client.delete_experiment(client.create_experiment(_reservation(name), tags={COMPARISON_RUN: run_id}))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise TrackingError(f"comparison {name!r} cannot be created: {str(error)[:200]}") from error
    agreed = find(name)
    if agreed != run_id and not older:
        client.delete_run(run_id)
    return agreed


def find(name: str) -> str:
    """The run of the comparison that is shared by `name`. Raises TrackingError if there is none."""
    run_id = _reserved(name)
    if run_id is None:
        start = f"python -m mnist_lightning.train --comparison {name}"
        raise TrackingError(f"MLflow at {runs.tracking_uri()} has no comparison {name!r}; start it with: {start}")
    if not runs.exists(run_id):
        raise TrackingError(f"comparison {name!r} was deleted (run {run_id}); restore that run, or use another name")
    return run_id


def _reservation(name: str) -> str:
    """The name of the experiment that reserves a comparison's name."""
    return f"{runs.EXPERIMENT}: comparison {name}"


def _reserved(name: str) -> str | None:
    """The run for which a comparison's name is reserved."""
    experiment: Experiment | None = mlflow.get_experiment_by_name(_reservation(name))  # finds deleted ones too
    return None if experiment is None else str(experiment.tags[COMPARISON_RUN])


def _create(name: str, recipe: str) -> str:
    client = mlflow.MlflowClient()
    experiment = mlflow.set_experiment(runs.EXPERIMENT)
    created: Run = client.create_run(
        experiment.experiment_id, run_name=name, tags={**provenance.tags(), SHARED_NAME: name}
    )
    client.log_text(created.info.run_id, recipe, runs.RECIPE)
    return str(created.info.run_id)


def _search(query: str) -> list[Run]:
    found = mlflow.search_runs(experiment_names=[runs.EXPERIMENT], filter_string=query, output_format="list")
    return list(found)


def _is_finished(run: Run) -> bool:
    """Whether a training is complete: the one definition for choosing among trainings and for resuming them.

    The metrics alone do not say so: a process can be killed after it has logged them.
    """
    return run.info.status == FINISHED and set(run.data.metrics) >= REQUIRED_METRICS


def _candidate(run: Run) -> Candidate:
    metrics = run.data.metrics
    return Candidate(
        optimizer=run.data.params["optimizer"],
        seed=int(run.data.params["seed"]),
        run_id=run.info.run_id,
        validation_accuracy=metrics[runs.BEST_VALIDATION_ACCURACY],
        validation_loss=metrics[runs.BEST_VALIDATION_LOSS],
        final_test_accuracy=metrics[runs.FINAL_TEST_ACCURACY],
        seconds=metrics[runs.TRAINING_SECONDS],
        temperature=metrics[runs.TEMPERATURE],
        is_digit_threshold=metrics[runs.THRESHOLD],
        started=run.info.start_time,
    )
