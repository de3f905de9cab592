"""The training as a user runs it: the command, MLflow's store, the archive, interruption and resuming."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_lightning.common.paths import resource
from mnist_lightning.tracking import runs
from tests.support import PROJECT, SEVEN
from tests.training.conftest import ONE_THREAD, TINY_FLAGS, Trained, Workplace

QUICK = ("--config", "quick.yaml")
# Trains, and is killed after a run's last metrics, before MLflow marks it as finished.
KILLED_BEFORE_ITS_STATUS = """
import os, signal, sys
from mnist_lightning import train
from mnist_lightning.tracking import runs

log = runs.log

def log_and_die(**what):
    log(**what)
    if runs.FINAL_TEST_ACCURACY in what.get("metrics", {}):
        os.kill(os.getpid(), signal.SIGKILL)

runs.log = log_and_die
train.main(sys.argv[1:])
"""
Recipe = dict[str, Any]


@pytest.fixture
def client(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    monkeypatch.chdir(trained.folder)
    mlflow.set_tracking_uri(trained.tracking_uri)
    yield MlflowClient()
    mlflow.set_tracking_uri("")


@pytest.fixture
def recipe(workplace: Workplace) -> Recipe:
    """A small recipe of two optimizers; `write` puts it into the folder."""
    values: Recipe = yaml.safe_load(resource("config/quick.yaml").read_text())
    del values["optimizers"]["RMSprop"]
    places = {"data_dir": str(workplace.mnist_folder), "model_store": "model_store"}
    return values | places | {"limit": 640, "batch_size": 64, "outliers": 5, "widths": [8, 8]}


def write(recipe: Recipe, folder: Path) -> None:
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))


def all_runs(client: MlflowClient) -> list[Run]:
    """The runs of the experiment, oldest first."""
    experiment = client.get_experiment_by_name(runs.EXPERIMENT)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]))


def children(client: MlflowClient) -> dict[str, Run]:
    return {str(run.info.run_name): run for run in all_runs(client) if "mlflow.parentRunId" in run.data.tags}


def candidates(folder: Path) -> list[dict[str, Any]]:
    """The trainings that the archive's network was chosen from."""
    return list(json.loads((folder / "model_store/mnist.json").read_text())["candidates"])


def best_checkpoint(client: MlflowClient, run_id: str, folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    path = client.download_artifacts(run_id, runs.CHECKPOINT, str(folder))
    return dict(torch.load(path, weights_only=True))


def assert_equal_weights(one: dict[str, dict[str, torch.Tensor]], other: dict[str, dict[str, torch.Tensor]]) -> None:
    for part in ("state_dict", "current_model_state"):  # the moving average, and the weights themselves
        assert one[part].keys() == other[part].keys()
        assert all(torch.equal(one[part][name], other[part][name]) for name in one[part])


def test_the_leaderboard_and_the_next_commands_are_printed(trained: Trained) -> None:
    assert [name for name in ("Adam", "SGD", "RMSprop") if name in trained.output] == ["Adam", "SGD", "RMSprop"]
    next_steps = trained.output[trained.output.index("next:") :]
    assert "mlflow ui" in next_steps
    assert "mnist_lightning.serve" in next_steps
    assert "mnist_lightning.client" in next_steps


def test_one_epoch_of_a_slice_classifies_digits(client: MlflowClient) -> None:
    for name, run in children(client).items():
        assert run.data.metrics["final_test_accuracy"] > 0.85, name


def test_every_run_records_how_it_was_made(client: MlflowClient) -> None:
    found = children(client)
    assert set(found) == {"Adam", "SGD", "RMSprop"}
    for name, run in found.items():
        assert run.info.status == "FINISHED"
        assert run.data.params["optimizer"] == name
        assert {"optimizer.lr", "epochs", "batch_size", "seed", "precision", "dataset_sha256"} <= set(run.data.params)
        assert {"git_commit", "version.torch", "version.lightning"} <= set(run.data.tags)
        assert {"best_validation_accuracy", "final_test_accuracy", "training_seconds"} <= set(run.data.metrics)
        assert {"learning_rate", "train_loss", "validation_accuracy"} <= set(run.data.metrics)
        assert run.inputs is not None
        assert run.inputs.dataset_inputs[0].dataset.digest
        artifacts = {entry.path for entry in client.list_artifacts(run.info.run_id)}
        assert {*("checkpoints", "confusion_matrix.png", "misread.png", "reliability.png"), "recipe.yaml"} <= artifacts
        assert {"filters.png", "per_digit.png", "model_card.md"} <= artifacts
        assert "accuracy on MNIST's test set" in run.data.tags["mlflow.note.content"]
        assert "gradient_norm" in run.data.metrics
        assert any(metric.startswith("system/") for metric in run.data.metrics)
        assert [entry.path for entry in client.list_artifacts(run.info.run_id, "checkpoints")] == [runs.CHECKPOINT]


def test_the_comparison_has_the_curves_the_recipe_and_the_leaderboard(client: MlflowClient) -> None:
    found = children(client)
    parent = next(iter(found.values())).data.tags["mlflow.parentRunId"]
    lines = client.get_run(parent).data.tags["mlflow.note.content"].splitlines()
    assert {line.split(" | ")[1]: line.split(" | ")[-1].rstrip(" |") for line in lines[2:5]} == {
        name: run.info.run_id for name, run in found.items()
    }
    assert {entry.path for entry in client.list_artifacts(parent)} == {"comparison.png", "recipe.yaml"}


def test_the_champion_is_the_best_and_can_be_loaded(client: MlflowClient, trained: Trained) -> None:
    best = max(children(client).values(), key=lambda run: run.data.metrics["best_validation_accuracy"])
    version = client.get_model_version_by_alias("mnist", "champion")
    assert version.run_id is not None
    assert "accuracy on MNIST's test set" in str(version.description)
    card = json.loads((trained.store / "mnist.json").read_text())
    assert client.get_run(version.run_id).data.metrics["best_validation_accuracy"] == pytest.approx(
        best.data.metrics["best_validation_accuracy"]
    )
    assert card["run_id"] == version.run_id
    champion: Any = mlflow.pyfunc.load_model("models:/mnist@champion")
    [answer] = champion.predict({"image": [base64.b64encode(SEVEN.read_bytes()).decode()]})
    assert (answer["number"], answer["error"]) == ("7", "")
    network = mlflow.pyfunc.load_model(best.data.tags[runs.MODEL_URI])
    assert network.predict(np.zeros((3, 1, 28, 28), dtype=np.float32)).shape == (3, 10)


def test_seeds_give_means_and_a_repeated_run_has_the_same_weights(
    workplace: Workplace, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(recipe, workplace.folder)
    first = workplace.train("--config", "recipe.yaml", "--seeds", "2")
    assert first.code == 0, first.errors
    assert first.output.count("±") == 4
    assert "Welch's t-test over 2 seeds" in first.output
    trainings = candidates(workplace.folder)
    assert sorted((run["optimizer"], run["seed"]) for run in trainings) == [
        *[("Adam", 0), ("Adam", 1), ("SGD", 0), ("SGD", 1)]
    ]
    original = next(run for run in trainings if (run["optimizer"], run["seed"]) == ("Adam", 1))
    again = workplace.train("--from-run", original["run_id"])
    assert again.code == 0, again.errors
    (repeated,) = candidates(workplace.folder)
    same = ("optimizer", "seed", "validation_accuracy", "final_test_accuracy")
    assert [repeated[key] for key in same] == [original[key] for key in same]
    monkeypatch.chdir(workplace.folder)
    client = MlflowClient(workplace.tracking_uri)
    folders = {run["run_id"]: tmp_path / run["run_id"] for run in (original, repeated)}
    for folder in folders.values():
        folder.mkdir()
    assert_equal_weights(*(best_checkpoint(client, run_id, folder) for run_id, folder in folders.items()))


@contextlib.contextmanager
def training_process(workplace: Workplace, *flags: str) -> Iterator["subprocess.Popen[str]"]:
    """The verb as a user starts it; it is killed when the block ends, unless it has ended."""
    environment = {"PYTHONPATH": str(PROJECT), "MLFLOW_TRACKING_URI": workplace.tracking_uri, **ONE_THREAD}
    process = subprocess.Popen(
        [sys.executable, "-m", "mnist_lightning.train", *flags],
        cwd=workplace.folder,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_ctrl_c_marks_the_runs_and_archives_nothing(workplace: Workplace, interruptible: None) -> None:
    with training_process(workplace, *QUICK, *TINY_FLAGS, "--epochs", "50", *workplace.places()) as process:
        assert process.stderr is not None
        assert any("epoch 2/50" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
        assert process.wait(60) == 130
    assert "Traceback" not in errors
    assert "KILLED" in errors
    found = all_runs(MlflowClient(workplace.tracking_uri))
    assert {run.info.run_name: run.info.status for run in found} == {"Adam": "KILLED", "optimizers": "KILLED"}
    assert not (workplace.folder / "model_store").exists()


def test_a_killed_and_resumed_training_ends_with_the_same_weights(
    workplace: Workplace, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(recipe | {"epochs": 2, "augmentation": {"corruption": 0.2}}, workplace.folder)
    whole = workplace.train("--config", "recipe.yaml", "--only", "SGD", "--model_store", "whole")
    assert whole.code == 0, whole.errors
    with training_process(workplace, "--config", "recipe.yaml") as process:
        assert process.stderr is not None
        assert any(line.startswith("SGD      epoch 1/2") for line in process.stderr)
        while process.poll() is None and not list(workplace.folder.glob("checkpoints/*/*/last.ckpt")):
            time.sleep(0.01)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    resumed = workplace.train("--resume")
    assert resumed.code == 0, resumed.errors
    assert "Adam     epoch" not in resumed.errors
    assert "SGD      epoch 1/2" not in resumed.errors
    assert "SGD      epoch 2/2" in resumed.errors

    monkeypatch.chdir(workplace.folder)
    client = MlflowClient(workplace.tracking_uri)
    found = all_runs(client)
    assert [run.info.run_name for run in found] == ["optimizers", "SGD", "optimizers", "Adam", "SGD"]
    assert {run.info.status for run in found} == {"FINISHED"}
    folders = {run.info.run_id: tmp_path / run.info.run_id for run in (found[1], found[4])}
    for folder in folders.values():
        folder.mkdir()
    assert_equal_weights(*(best_checkpoint(client, run_id, folder) for run_id, folder in folders.items()))
    assert {run["optimizer"] for run in candidates(workplace.folder)} == {"Adam", "SGD"}
    assert list((workplace.folder / "checkpoints").iterdir()) == []


def test_a_run_that_was_killed_before_its_status_is_completed(
    workplace: Workplace, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(recipe, workplace.folder)
    environment = {"PYTHONPATH": str(PROJECT), "MLFLOW_TRACKING_URI": workplace.tracking_uri, **ONE_THREAD}
    done = subprocess.run(
        [sys.executable, "-c", KILLED_BEFORE_ITS_STATUS, "--config", "recipe.yaml"],
        cwd=workplace.folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    resumed = workplace.train("--resume")
    assert resumed.code == 0, resumed.errors
    assert "Adam     epoch" not in resumed.errors  # its checkpoint is complete
    assert "SGD      epoch 1/1" in resumed.errors
    monkeypatch.chdir(workplace.folder)
    found = all_runs(MlflowClient(workplace.tracking_uri))
    assert {run.info.run_name: run.info.status for run in found} == dict.fromkeys(
        ("optimizers", "Adam", "SGD"), "FINISHED"
    )
    assert len(found) == 3
    assert {run["optimizer"] for run in candidates(workplace.folder)} == {"Adam", "SGD"}


def test_an_mlflow_server_that_does_not_answer_is_one_clear_error(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workplace, "tracking_uri", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    finished = workplace.train(*QUICK, *TINY_FLAGS, *workplace.places())
    assert finished.code == 1
    assert finished.errors.startswith("error: MLflow at http://127.0.0.1:9 cannot be used")
    assert "Traceback" not in finished.errors
    assert not (workplace.folder / "model_store").exists()


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--resume"], 1, "nothing to resume"),
        (["--from-run", "nobody"], 1, "run 'nobody' has no recipe.yaml"),
        (["--epochs", "none"], 2, "epochs is 'none'"),
        (["--only", "Adagrad"], 2, "only is 'Adagrad'"),
    ],
)
def test_a_training_that_cannot_start_is_one_clear_error(
    flags: list[str], code: int, message: str, workplace: Workplace
) -> None:
    finished = workplace.train(*flags)
    assert finished.code == code
    assert finished.errors.startswith("error: ")
    assert message in finished.errors
    assert "Traceback" not in finished.errors
    assert [path.name for path in workplace.folder.iterdir()] == ["mlflow.db"]
