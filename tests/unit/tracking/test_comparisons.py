"""Comparisons: the ranking of their trainings, and the name by which several machines share one."""

import time
from pathlib import Path

import mlflow
import pytest

from mnist_lightning.tracking import comparisons, runs
from tests.mlflow_stores import log_training

METRICS = {
    **{runs.BEST_VALIDATION_ACCURACY: 0.9, runs.BEST_VALIDATION_LOSS: 0.1, runs.FINAL_TEST_ACCURACY: 0.9},
    **{runs.TRAINING_SECONDS: 12.0, runs.TEMPERATURE: 1.0, runs.THRESHOLD: 0.3},
}


def test_candidates_are_ranked_by_validation_accuracy_then_loss(mlflow_store: Path) -> None:
    with runs.run("comparison") as parent:
        log_training(parent, "Adam", 0.99, loss=0.05, test_accuracy=0.999)
        log_training(parent, "SGD", 0.995, loss=0.04, test_accuracy=0.9)
        log_training(parent, "RMSprop", 0.995, loss=0.03, test_accuracy=0.8)
        with pytest.raises(KeyboardInterrupt), runs.run("Adagrad"):
            raise KeyboardInterrupt
        with runs.run("without metrics"):
            pass
    first, *others = comparisons.finished(parent)
    assert [candidate.optimizer for candidate in (first, *others)] == ["RMSprop", "SGD", "Adam"]
    assert (first.validation_accuracy, first.validation_loss, first.final_test_accuracy) == (0.995, 0.03, 0.8)
    assert (first.seed, first.seconds, first.temperature, first.is_digit_threshold) == (0, 12.0, 1.0, 0.3)


def test_the_newest_run_of_each_training_counts(mlflow_store: Path) -> None:
    parent = comparisons.join("repeated", "epochs: 1\n")
    log_training(parent, "SGD", 0.99)
    time.sleep(0.01)  # MLflow's start times are in milliseconds
    newer, other = log_training(parent, "SGD", 0.98), log_training(parent, "Adam", 0.97)
    another_seed = log_training(parent, "SGD", 0.96, seed=1)
    newest = comparisons.newest(comparisons.finished(parent))
    assert [candidate.run_id for candidate in newest] == [newer, other, another_seed]


def test_the_status_is_that_of_the_newest_run(mlflow_store: Path) -> None:
    parent = comparisons.join("repeated", "epochs: 1\n")
    with pytest.raises(ValueError, match="diverged"), runs.run("Adam", parent=parent):
        raise ValueError("diverged")
    with pytest.raises(ValueError, match="diverged"), runs.run("SGD", parent=parent):
        raise ValueError("diverged")
    time.sleep(0.01)
    log_training(parent, "SGD")
    assert comparisons.statuses(parent) == {"Adam": "FAILED", "SGD": "FINISHED"}


def test_a_process_finds_the_runs_of_its_workspace(mlflow_store: Path) -> None:
    with runs.run("comparison") as parent:
        with runs.run("Adam", tags={runs.WORKSPACE: "mine"}) as adam:
            runs.log(metrics=METRICS)
        with runs.run("SGD", tags={runs.WORKSPACE: "mine"}) as sgd:
            pass
        with runs.run("RMSprop", tags={runs.WORKSPACE: "another"}):
            pass
    assert comparisons.runs_of_workspace(parent, "mine") == {"Adam": (adam, True), "SGD": (sgd, False)}


@pytest.mark.parametrize("status", ["RUNNING", "KILLED", "FAILED", "FINISHED"])
@pytest.mark.parametrize("lacking", [None, runs.FINAL_TEST_ACCURACY, runs.THRESHOLD])
def test_a_training_is_a_candidate_or_is_resumed(lacking: str | None, status: str, mlflow_store: Path) -> None:
    """A process can be killed at any moment, also between a run's last metric and its status."""
    client = mlflow.MlflowClient()
    with runs.run("comparison") as parent:
        pass
    tags = {"mlflow.parentRunId": parent, runs.WORKSPACE: "mine"}
    run = client.create_run(mlflow.get_run(parent).info.experiment_id, run_name="SGD", tags=tags)
    for name, value in {"optimizer": "SGD", "seed": 0}.items():
        client.log_param(run.info.run_id, name, value)
    for name in METRICS.keys() - {lacking}:
        client.log_metric(run.info.run_id, name, METRICS[name])
    client.update_run(run.info.run_id, status)
    finished = status == "FINISHED" and lacking is None
    assert comparisons.runs_of_workspace(parent, "mine") == {"SGD": (run.info.run_id, finished)}
    assert [candidate.run_id for candidate in comparisons.finished(parent)] == [run.info.run_id] * finished


def test_runs_that_are_not_trainings(mlflow_store: Path) -> None:
    with pytest.raises(runs.TrackingError, match=r"MLflow at sqlite:.* has no run 'unknown'"):
        comparisons.parent_of("unknown")
    with runs.run("comparison") as run_id:
        pass
    with pytest.raises(runs.TrackingError, match="is not a training: it has no parent run"):
        comparisons.parent_of(run_id)


def test_a_shared_comparison_is_created_once_with_its_recipe(mlflow_store: Path) -> None:
    created = comparisons.join("shared", "epochs: 1\n")
    assert comparisons.join("shared", "epochs: 2\n") == comparisons.find("shared") == created
    assert comparisons.join("another", "epochs: 2\n") != created
    assert runs.load_text(created, runs.RECIPE) == "epochs: 1\n"
    assert mlflow.get_run(created).info.run_name == "shared"
    assert mlflow.get_run(created).info.status == "RUNNING"
    assert [experiment.name for experiment in mlflow.search_experiments()] == ["mnist", "Default"]


def test_a_comparison_whose_reservation_was_purged_is_found_again(mlflow_store: Path) -> None:
    """`mlflow gc` removes deleted experiments for good, here simulated by another name."""
    created = comparisons.join("shared", "epochs: 1\n")
    client = mlflow.MlflowClient()
    reservation = client.get_experiment_by_name("mnist: comparison shared")
    assert reservation is not None
    client.restore_experiment(reservation.experiment_id)
    client.rename_experiment(reservation.experiment_id, "purged")
    assert comparisons.join("shared", "epochs: 2\n") == created


def test_a_comparison_that_does_not_exist(mlflow_store: Path) -> None:
    with pytest.raises(runs.TrackingError, match=r"no comparison 'unknown'.*train --comparison unknown"):
        comparisons.find("unknown")


def test_a_comparison_that_was_deleted(mlflow_store: Path) -> None:
    mlflow.delete_run(comparisons.join("half", "epochs: 1\n"))
    with pytest.raises(runs.TrackingError, match="'half' was deleted"):
        comparisons.find("half")
