"""A comparison that several machines share: a real MLflow server on a real PostgreSQL, processes that start at once."""

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from mlflow import MlflowClient

from mnist_lightning import package, train
from mnist_lightning.serving.torchserve import free_port
from mnist_lightning.tracking import comparisons, runs
from mnist_lightning.training.config import read
from tests.support import PROJECT, verb

OPTIMIZERS = ("Adam", "SGD", "RMSprop")


@contextlib.contextmanager
def ended(process: subprocess.Popen[Any], by: int) -> Iterator[None]:
    """A process with all that it started, gone when the block ends."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, by)
        process.wait(30)


def wait_for(what: str, ready: Any) -> None:
    deadline = time.monotonic() + 90
    while not ready():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL with nothing in it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    tools = found[-1].parent
    if os.geteuid() == 0:  # which it refuses to run as
        user: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []}
    else:
        user = {}
    with tempfile.TemporaryDirectory() as scratch:
        if user:
            os.chown(scratch, *pwd.getpwnam("postgres")[2:4])
        folder, port = f"{scratch}/data", str(free_port())
        create = [tools / "initdb", "--pgdata", folder, "--username=mlflow", "--auth=trust", "--no-sync"]
        subprocess.run(create, check=True, capture_output=True, cwd=scratch, **user)
        settings = ["-c", "unix_socket_directories=", "-c", "fsync=off", "-p", port]
        process = subprocess.Popen(
            [tools / "postgres", "-D", folder, *settings],
            cwd=scratch,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **user,
        )
        with ended(process, signal.SIGINT):
            ask = [tools / "pg_isready", "-q", "-h", "127.0.0.1", "-p", port]
            wait_for("PostgreSQL", lambda: subprocess.run(ask, check=False).returncode == 0)
            yield f"postgresql://mlflow@127.0.0.1:{port}/postgres"


@pytest.fixture(scope="module")
def mlflow_server(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server that keeps runs in PostgreSQL and files in a folder."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    stores = ["--backend-store-uri", postgres, "--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, *stores], cwd=folder, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            return requests.get(f"{url}/health", timeout=5).ok
        except requests.RequestException:
            return False

    with ended(process, signal.SIGTERM):
        wait_for("MLflow server", answers)
        yield url


@pytest.fixture
def client(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    runs.connect()
    yield MlflowClient()
    mlflow.set_tracking_uri(None)


def train_apart(url: str, folder: Path, mnist_folder: Path, name: str) -> dict[str, subprocess.CompletedProcess[str]]:
    """Three processes, each with a folder of its own, that start at the same moment."""

    def one(optimizer: str) -> subprocess.CompletedProcess[str]:
        place = folder / optimizer
        place.mkdir(parents=True)
        flags = ["--config", str(PROJECT / "config/quick.yaml"), "--limit", "1000", "--data_dir", str(mnist_folder)]
        here = {"MLFLOW_TRACKING_URI": url, "OMP_NUM_THREADS": "1"}
        return verb("train", *flags, "--comparison", name, "--only", optimizer, cwd=place, **here)

    with ThreadPoolExecutor(len(OPTIMIZERS)) as pool:
        return dict(zip(OPTIMIZERS, pool.map(one, OPTIMIZERS), strict=True))


def check_shared(client: MlflowClient, name: str) -> str:
    """One comparison of this name with three children; its id."""
    everything = client.search_runs([client.get_experiment_by_name("mnist").experiment_id])
    (parent,) = [run for run in everything if run.info.run_name == name]
    children = [run for run in everything if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.run_name for run in children) == sorted(OPTIMIZERS)
    assert {run.info.status for run in children} == {"FINISHED"}
    return parent.info.run_id


def test_three_processes_share_one_comparison(
    client: MlflowClient, mlflow_server: str, mnist_folder: Path, tmp_path: Path
) -> None:
    for done in train_apart(mlflow_server, tmp_path, mnist_folder, "spread out").values():
        assert done.returncode == 0, done.stderr
        assert "champion" not in done.stdout
        assert "package --comparison 'spread out'" in done.stdout
    assert not list(tmp_path.glob("*/model_store"))
    comparison_id = check_shared(client, "spread out")
    assert client.get_run(comparison_id).info.status == "RUNNING"
    chosen = verb("package", "--comparison", "spread out", cwd=tmp_path, MLFLOW_TRACKING_URI=mlflow_server)
    assert chosen.returncode == 0, chosen.stderr
    assert client.get_run(comparison_id).info.status == "FINISHED"
    told = json.loads((tmp_path / "model_store/mnist.json").read_text())
    assert {run["optimizer"] for run in told["candidates"]} == set(OPTIMIZERS)
    assert told["validation_accuracy"] == max(run["validation_accuracy"] for run in told["candidates"])
    assert client.get_model_version_by_alias("mnist", "champion").run_id == told["run_id"]
    assert len(client.search_model_versions("name='mnist'")) == 1


def test_who_asks_at_once_for_a_name_gets_the_same_run(client: MlflowClient) -> None:
    for number in range(4):
        start = threading.Barrier(8)

        def ask(name: str, start: threading.Barrier) -> str:
            start.wait()
            return comparisons.shared(name, "epochs: 1\n")

        with ThreadPoolExecutor(8) as pool:
            (agreed,) = set(pool.map(ask, [f"race {number}"] * 8, [start] * 8))
        experiment = client.get_experiment_by_name("mnist").experiment_id
        (run,) = client.search_runs([experiment], f"attributes.run_name = 'race {number}'")
        assert run.info.run_id == agreed == comparisons.shared(f"race {number}", "epochs: 2\n")
        assert runs.text(agreed, runs.RECIPE) == "epochs: 1\n"


def test_a_comparison_is_of_one_recipe(
    client: MlflowClient, mnist_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(PROJECT)
    begun = ["--config", "config/quick.yaml", "--limit", "1000"]
    comparison_id = comparisons.shared("one recipe", read(begun)[1])
    here = ["--comparison", "one recipe", "--only", "SGD", "--data_dir", str(mnist_folder)]
    assert train.run(train.job_of(["--config", "config/quick.yaml", *here])) == 1
    said = capsys.readouterr().err
    assert "'one recipe' has another recipe: limit is None, there 1000" in said
    assert f"--like {comparison_id} --comparison" in said
    assert comparisons.statuses(comparison_id) == {}


def finished_run(parent: str, optimizer: str, accuracy: float) -> str:
    with runs.run(optimizer, parent=parent) as run_id:
        metrics = dict.fromkeys(
            (runs.TRAINING_SECONDS, runs.TEMPERATURE, runs.THRESHOLD, runs.FINAL_TEST_ACCURACY), 1.0
        )
        found = {runs.BEST_VALIDATION_ACCURACY: accuracy, runs.BEST_VALIDATION_LOSS: 0.1}
        runs.record(parameters={"optimizer": optimizer, "seed": 0}, metrics={**metrics, **found})
    return run_id


def test_of_each_optimizer_the_newest_finished_run_counts(client: MlflowClient) -> None:
    parent = comparisons.shared("again", "epochs: 1\n")
    finished_run(parent, "SGD", 0.99)
    time.sleep(0.01)  # runs are told apart by the millisecond
    newer, other = finished_run(parent, "SGD", 0.98), finished_run(parent, "Adam", 0.97)
    assert [run.run_id for run in comparisons.newest(comparisons.finished(parent))] == [newer, other]


def test_what_is_missing_is_told(client: MlflowClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = (PROJECT / "config/quick.yaml").read_text()
    parent = comparisons.shared("half", recipe)
    finished_run(parent, "SGD", 0.99)
    with pytest.raises(ValueError, match="never mind"), runs.run("Adam", parent=parent):
        raise ValueError("never mind")
    capsys.readouterr()  # where MLflow says that its runs are to be seen
    assert package.main(["--comparison", "half", "--store", str(tmp_path / "store")]) == 1
    said = capsys.readouterr()
    assert "it lacks Adam (FAILED), RMSprop (not begun)" in said.err
    assert said.out == ""
    assert not (tmp_path / "store").exists()
    with pytest.raises(runs.TrackingError, match=r"no comparison 'nobody'.*train --comparison nobody"):
        comparisons.named("nobody")
    client.delete_run(parent)
    with pytest.raises(runs.TrackingError, match="'half' was deleted"):
        comparisons.named("half")
