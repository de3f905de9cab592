"""The comparison as a user sees it: the command, MLflow's store, the archive."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import yaml
from mlflow import MlflowClient

from mnist_lightning.tracking import runs
from tests.support import PROJECT, Trained, verb

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
QUICK = ["--config", str(PROJECT / "config/quick.yaml")]


@pytest.fixture
def client(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    monkeypatch.chdir(trained.folder)
    mlflow.set_tracking_uri(trained.tracking_uri)
    yield MlflowClient()
    mlflow.set_tracking_uri(None)


def children(client: MlflowClient) -> "dict[str, mlflow.entities.Run]":
    runs = client.search_runs([client.get_experiment_by_name("mnist").experiment_id])
    return {run.info.run_name: run for run in runs if "mlflow.parentRunId" in run.data.tags}


def test_the_table_ranks_and_the_next_commands_follow(trained: Trained) -> None:
    assert [name for name in ("Adam", "SGD", "RMSprop") if name in trained.output] == ["Adam", "SGD", "RMSprop"]
    after = trained.output[trained.output.index("next:") :]
    assert "mlflow ui" in after
    assert "mnist_lightning.serve" in after
    assert "mnist_lightning.client" in after


def test_even_one_epoch_of_a_slice_reads_digits(client: MlflowClient) -> None:
    for name, run in children(client).items():
        assert run.data.metrics["final_test_accuracy"] > 0.85, name


def test_every_child_tells_how_it_was_made(client: MlflowClient) -> None:
    runs = children(client)
    assert set(runs) == {"Adam", "SGD", "RMSprop"}
    for name, run in runs.items():
        assert run.info.status == "FINISHED"
        assert run.data.params["optimizer"] == name
        assert {"optimizer.lr", "epochs", "batch_size", "seed", "precision", "dataset_sha256"} <= set(run.data.params)
        assert {"git_commit", "version.torch", "version.lightning"} <= set(run.data.tags)
        assert {"best_validation_accuracy", "final_test_accuracy", "training_seconds"} <= set(run.data.metrics)
        assert {"learning_rate", "train_loss", "validation_accuracy"} <= set(run.data.metrics)
        assert run.inputs.dataset_inputs[0].dataset.digest
        artifacts = {entry.path for entry in client.list_artifacts(run.info.run_id)}
        assert {*("checkpoints", "confusion_matrix.png", "misread.png", "reliability.png"), "recipe.yaml"} <= artifacts
        assert {"filters.png", "per_digit.png", "model_card.md"} <= artifacts
        assert "accuracy on MNIST's test set" in run.data.tags["mlflow.note.content"]
        assert "gradient_norm" in run.data.metrics
        assert any(metric.startswith("system/") for metric in run.data.metrics)
        assert [entry.path for entry in client.list_artifacts(run.info.run_id, "checkpoints")] == [runs.CHECKPOINT]


def test_the_parent_holds_the_curves_and_the_recipe_and_tells_how_all_stand(client: MlflowClient) -> None:
    runs = children(client)
    parent = next(iter(runs.values())).data.tags["mlflow.parentRunId"]
    told = client.get_run(parent).data.tags["mlflow.note.content"].splitlines()
    assert {line.split(" | ")[1]: line.split(" | ")[-1].rstrip(" |") for line in told[2:5]} == {
        name: run.info.run_id for name, run in runs.items()
    }
    assert {entry.path for entry in client.list_artifacts(parent)} == {"comparison.png", "recipe.yaml"}


def test_the_champion_is_the_best_and_can_be_loaded(client: MlflowClient, trained: Trained) -> None:
    best = max(children(client).values(), key=lambda run: run.data.metrics["best_validation_accuracy"])
    version = client.get_model_version_by_alias("mnist", "champion")
    assert "accuracy on MNIST's test set" in version.description
    chosen = json.loads((trained.store / "mnist.json").read_text())
    assert client.get_run(version.run_id).data.metrics["best_validation_accuracy"] == pytest.approx(
        best.data.metrics["best_validation_accuracy"]
    )
    assert chosen["run_id"] == version.run_id
    model = mlflow.pyfunc.load_model("models:/mnist@champion")
    logits = model.predict(np.zeros((3, 1, 28, 28), dtype=np.float32))
    assert logits.shape == (3, 10)
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 1, 28, 28)


def test_the_same_seed_gives_the_same_weights(trained: Trained, mnist_folder: Path, tmp_path: Path) -> None:
    flags = [*QUICK, "--limit", "1000", "--only", "SGD", "--data_dir", str(mnist_folder)]
    stores = []
    for name in ("one", "two"):
        done = verb(
            "train", *flags, "--model_store", name, cwd=tmp_path, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/{name}.db"
        )
        assert done.returncode == 0, done.stderr
        stores.append(json.loads((tmp_path / name / "mnist.json").read_text()))
    first, second = ({k: found[k] for k in ("validation_accuracy", "final_test_accuracy")} for found in stores)
    assert first == second
    assert [found["optimizer"] for found in stores[0]["candidates"]] == ["SGD"]


def test_seeds_give_means_and_a_run_can_be_made_again(mnist_folder: Path, tmp_path: Path) -> None:
    places = ["--data_dir", str(mnist_folder), "--model_store", "store"]
    small = ["--limit", "1000", "--batch_size", "32"]
    first = verb("train", *QUICK, *small, "--seeds", "2", *places, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("±") == 6
    assert "Welch's t-test over 2 seeds" in first.stdout
    told = json.loads((tmp_path / "store/mnist.json").read_text())
    assert len(told["candidates"]) == 6
    other = next(run for run in told["candidates"] if run["seed"] == 1 and run["optimizer"] == "RMSprop")
    again = verb("train", "--like", other["run_id"], *places, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    made = json.loads((tmp_path / "store/mnist.json").read_text())
    same = ("optimizer", "seed", "validation_accuracy", "final_test_accuracy")
    assert [made[key] for key in same] == [other[key] for key in same]
    assert [run["optimizer"] for run in made["candidates"]] == ["RMSprop"]
    nobody = verb("train", "--like", "nobody", cwd=tmp_path)
    assert nobody.returncode == 1
    assert "no recipe.yaml of a run 'nobody'" in nobody.stderr


def test_ctrl_c_marks_the_runs_and_archives_nothing(mnist_folder: Path, tmp_path: Path, interruptible: None) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    command = [sys.executable, "-m", "mnist_lightning.train", *QUICK, "--epochs", "50", "--limit", "2000"]
    with subprocess.Popen(
        [*command, "--data_dir", str(mnist_folder), "--model_store", "store"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "MLFLOW_TRACKING_URI": uri},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "epoch 2/50" in line:
                break
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
        assert process.wait(60) == 130
    assert "Traceback" not in errors
    assert "KILLED" in errors
    runs = MlflowClient(uri).search_runs(["1"])
    assert {run.info.run_name: run.info.status for run in runs} == {"Adam": "KILLED", "optimizers": "KILLED"}
    assert not (tmp_path / "store").exists()


def test_killed_and_resumed_the_weights_end_the_same(mnist_folder: Path, tmp_path: Path) -> None:
    recipe = yaml.safe_load((PROJECT / "config/quick.yaml").read_text())
    del recipe["optimizers"]["RMSprop"]
    recipe |= {"epochs": 2, "limit": 2000, "data_dir": str(mnist_folder), "augmentation": {"damage": 0.2}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    flags = ["--config", "recipe.yaml", "--model_store"]
    whole = verb("train", *flags, "whole", "--only", "SGD", cwd=tmp_path, **ONE_THREAD)
    assert whole.returncode == 0, whole.stderr
    kill_after("SGD      epoch 1/2", [*flags, "store"], tmp_path)
    resumed = verb("train", "--resume", cwd=tmp_path, **ONE_THREAD)
    assert resumed.returncode == 0, resumed.stderr
    assert "Adam     epoch" not in resumed.stderr
    assert "SGD      epoch 1/2" not in resumed.stderr

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs(["1"], order_by=["attributes.start_time"])
    assert [run.info.run_name for run in runs] == ["optimizers", "SGD", "optimizers", "Adam", "SGD"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    one, other = (best_weights(tmp_path, run) for run in (runs[1], runs[4]))
    for part in ("state_dict", "current_model_state"):  # the running mean, and the weights themselves
        assert one[part].keys() == other[part].keys()
        assert all(torch.equal(one[part][name], other[part][name]) for name in one[part])
    chosen = json.loads((tmp_path / "store/mnist.json").read_text())
    assert {run["optimizer"] for run in chosen["candidates"]} == {"Adam", "SGD"}


def kill_after(said: str, flags: list[str], folder: Path) -> None:
    """Start a training, and end it with SIGKILL in the epoch after the one of which it says something."""
    with subprocess.Popen(
        [sys.executable, "-m", "mnist_lightning.train", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **ONE_THREAD},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert any(said in line for line in process.stderr)
        while process.poll() is None and not list(folder.glob("checkpoints/*/*/last.ckpt")):
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL


def best_weights(folder: Path, run: "mlflow.entities.Run") -> dict[str, dict[str, torch.Tensor]]:
    """A run's best checkpoint."""
    artifacts = folder / run.info.artifact_uri.removeprefix("file://")
    return torch.load(artifacts / runs.CHECKPOINT, weights_only=True)


@pytest.mark.parametrize(
    ("environment", "flags", "said"),
    [
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}, [], "127.0.0.1:9"),
        ({}, ["--epochs", "none"], "epochs"),
        ({}, ["--resume"], "nothing to resume"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_error(
    environment: dict[str, str], flags: list[str], said: str, tmp_path: Path
) -> None:
    started = time.monotonic()
    done = verb("train", *(flags if "--resume" in flags else [*QUICK, *flags]), cwd=tmp_path, **environment)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 60
    assert not (tmp_path / "model_store").exists()
